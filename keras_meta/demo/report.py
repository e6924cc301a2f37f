"""The demo's table, as text, Markdown and JSON."""

import json

import rich.console
import rich.table

from keras_meta.training.meta_evaluation import summary

STEPS = (1, 3, 5)
CAPTION = (
    "Accuracy in % on digits that were never seen in training ({test}), {ways}-way, "
    "{episodes} tasks, 95 % intervals; all train the same network. Adam and SGD have "
    "the best learning rate of a grid for each cell, chosen on these very tasks; "
    "MetaSGD has none to choose."
)


class Results:
    """Collects every method's accuracy, task by task.

    Args:
        facts: dict of JSON values: `test`, `ways`, `episodes` and what else is to
            be recorded.
    """

    def __init__(self, facts):
        self.facts = facts
        self.rows = {}  # method -> shots -> summary and rates

    def add(self, method, shots, accuracies, rates=None):
        """Adds a method's accuracies, float `(num_episodes, num_steps + 1)`."""
        self.add_summary(method, shots, summary(accuracies), rates)

    def add_summary(self, method, shots, mean_and_interval, rates=None):
        """Adds what `MetaTrainer.evaluate` returns for a metric."""
        entry = dict(mean_and_interval)
        if rates is not None:
            entry["learning_rates"] = rates
        self.rows.setdefault(method, {})[str(shots)] = entry

    def caption(self):
        return CAPTION.format(**self.facts)

    def header(self):
        shots = next(iter(self.rows.values()))
        cells = [
            f"{count} shot{'s' * (count != '1')}, {steps} step{'s' * (steps > 1)}"
            for count in shots
            for steps in STEPS
        ]
        return ["start, optimizer", *cells]

    def cells(self):
        """Returns the table's rows of text, the best of each column marked."""
        columns = [(s, n) for s in next(iter(self.rows.values())) for n in STEPS]
        best = {
            (s, n): max(row[s]["mean"][n] for row in self.rows.values())
            for s, n in columns
        }
        lines = []
        for method, row in self.rows.items():
            texts = []
            for s, n in columns:
                mean, interval = row[s]["mean"][n], row[s]["ci95"][n]
                text = f"{100 * mean:.1f} ± {100 * interval:.1f}"
                texts.append(f"**{text}**" if mean == best[s, n] else text)
            lines.append([method, *texts])
        return lines

    def markdown(self):
        header = self.header()
        lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(line) + " |" for line in self.cells()]
        return "\n".join([*lines, "", self.caption()])

    def print(self):
        table = rich.table.Table(caption=self.caption(), title="Accuracy, %")
        for name in self.header():
            table.add_column(name)
        for line in self.cells():
            table.add_row(
                *[
                    f"[bold green]{cell.strip('*')}[/]" if "**" in cell else cell
                    for cell in line
                ]
            )
        rich.console.Console().print(table)

    def write(self, folder):
        """Writes `results.json` and `table.md`."""
        results = {**self.facts, "rows": self.rows, "table": self.markdown()}
        text = json.dumps(results, indent=1) + "\n"
        (folder / "results.json").write_text(text, encoding="utf-8")
        (folder / "table.md").write_text(self.markdown() + "\n", encoding="utf-8")
