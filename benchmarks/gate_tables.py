"""What the release gate found, as tables and a plot.

    python benchmarks/gate_tables.py

prints the tables and draws `results/release_gate.png`.
"""

import math
import pathlib

import numpy as np
from table_parts import load, machine_line, markdown

HERE = pathlib.Path(__file__).parent
LEARNED = {"known": "MetaAdam, horizon known", "unknown": "MetaAdam"}
TARGETS = {  # of the ratio of final training losses: at 200 and at 2,000 steps
    ("Adam(0.001)", "known"): (0.78, 0.85),
    ("Adam(0.001)", "unknown"): (0.80, 0.88),
    ("best of 5 constant Adam", "known"): (0.97, 0.97),
    ("Adam(0.003), cosine", "known"): (0.92, 0.95),
    ("best of 5 Adam, cosine", "known"): (1.00, 1.05),
}
RESAMPLES = 10_000
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of the plot
BEHIND = 1.005  # of Adam's loss: less is level


class Gate:
    """The final figures of every run, as means over the seeds."""

    def __init__(self, results):
        self.results = results
        self.tasks = list(results["rows"])
        self._means = {}
        for task, rows in results["rows"].items():
            runs = {}
            for key, row in rows.items():
                *label, steps, _ = key.split(", ")
                runs.setdefault((", ".join(label), int(steps)), []).append(row)
            for (label, steps), seeds in runs.items():
                self._means[task, label, steps] = seeds

    def has(self, task, steps):
        return (task, LEARNED["unknown"], steps) in self._means

    def value(self, task, label, steps, figure="loss"):
        """Returns the mean over the seeds; infinite if a run did not stay finite."""
        values = [row[figure] for row in self._means[task, label, steps]]
        value = float(np.mean(values))
        return value if math.isfinite(value) else math.inf

    def fastest(self, task, label, steps):
        """Returns the milliseconds a step of the seed that was fastest: not the first,
        for which `fit` compiles."""
        return min(row["milliseconds"] for row in self._means[task, label, steps])

    def baselines(self, task, steps, figure="loss"):
        """Returns dict of name to the value of the baselines and of the best ones."""

        def best(start, cosine=False):
            # The best rate is chosen by the training loss, whatever is then shown.
            labels = [
                label
                for (name, label, length) in self._means
                if (name, length) == (task, steps)
                and label.startswith(start)
                and label.endswith("cosine") == cosine
            ]
            chosen = min(labels, key=lambda label: self.value(task, label, steps))
            return self.value(task, chosen, steps, figure)

        return {
            "Adam(0.001)": self.value(task, "Adam 0.001", steps, figure),
            "Adam(0.003)": self.value(task, "Adam 0.003", steps, figure),
            "Adam(0.003), cosine": self.value(task, "Adam 0.003 cosine", steps, figure),
            "best of 5 constant Adam": best("Adam "),
            "best of 5 AdamW": best("AdamW "),
            "best of 5 Adam, cosine": best("Adam ", cosine=True),
            "best of 3 ScheduleFreeAdamW": best("ScheduleFreeAdamW "),
            "best of 5 SGD, momentum": best("SGD momentum "),
        }

    def ratios(self, kind, baseline, steps, figure="loss"):
        """Returns MetaAdam's figure over a baseline's, for each task."""
        return np.array(
            [
                self.value(task, LEARNED[kind], steps, figure)
                / self.baselines(task, steps, figure)[baseline]
                for task in self.tasks
                if self.has(task, steps)
            ]
        )

    def steps_to_adam(self, kind, steps=2_000):
        """Returns, for each task, the steps to the loss that Adam(0.001) ends at."""
        found = []
        for task in self.tasks:
            goal = self.value(task, "Adam 0.001", steps)
            curve = np.mean(
                [row["curve"] for row in self._means[task, LEARNED[kind], steps]], 0
            )
            below = np.flatnonzero(curve <= goal)
            part = steps / len(curve)
            found.append((below[0] + 1) * part if len(below) else math.inf)
        return np.array(found)


def mean_with_interval(ratios):
    """Returns the geometric mean of ratios, and its 95 % interval over tasks."""
    logs = np.log(ratios)
    random = np.random.default_rng(0)
    drawn = random.choice(logs, size=(RESAMPLES, len(logs))).mean(1)
    low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
    return float(np.exp(logs.mean())), float(low), float(high)


def shown(ratios):
    mean, low, high = mean_with_interval(ratios)
    won = np.mean(ratios < 1.0)
    return f"{mean:.2f} ({low:.2f}-{high:.2f}), {won:.0%}, {ratios.max():.2f}"


def release_gate():
    """Returns the table of geometric means."""
    gate = Gate(load("release_gate"))
    lengths = [
        n for n in (200, 2_000, 10_000) if any(gate.has(t, n) for t in gate.tasks)
    ]
    rows = []
    for kind in LEARNED:
        for baseline in gate.baselines(gate.tasks[0], lengths[0]):
            cells = [shown(gate.ratios(kind, baseline, n)) for n in lengths]
            targets = TARGETS.get((baseline, kind))
            wanted = "" if targets is None else f"{targets[0]:.2f}, {targets[1]:.2f}"
            rows.append([kind, baseline, *cells, wanted])
    counts = [sum(gate.has(t, n) for t in gate.tasks) for n in lengths]
    counted = ", ".join(map(str, counts))
    header = ["horizon", "loss beside that of"]
    header += [f"{n:,} steps" for n in lengths] + ["target of the mean"]
    median = {kind: np.median(gate.steps_to_adam(kind)) for kind in LEARNED}
    return (
        f"{markdown(header, rows)}\n\nGeometric mean of the ratios of final training "
        "losses with its bootstrap interval over tasks, share of tasks won, worst "
        f"task; {counted} tasks, 3 seeds. Steps to the loss that Adam(0.001) ends at "
        f"after 2,000, median: {median['known']:.0f} with a known horizon of 2,000, "
        f"{median['unknown']:.0f} without. {machine_line(gate.results['machine'])}"
    )


def release_gate_validation():
    """Returns the table of validation losses and accuracies."""
    gate = Gate(load("release_gate"))
    rows = []
    for kind in LEARNED:
        for baseline in gate.baselines(gate.tasks[0], 200):
            cells = []
            for steps in (200, 2_000):
                cells.append(
                    shown(gate.ratios(kind, baseline, steps, "validation_loss"))
                )
                differences = [
                    gate.value(task, LEARNED[kind], steps, "validation_accuracy")
                    - gate.baselines(task, steps, "validation_accuracy")[baseline]
                    for task in gate.tasks
                    if "accuracy" in measured(gate, task)
                ]
                cells.append(f"{100 * np.mean(differences):+.1f}")
            rows.append([kind, baseline, *cells])
    header = ["horizon", "beside", "200: loss", "points", "2,000: loss", "points"]
    return (
        f"{markdown(header, rows)}\n\nValidation loss as a ratio, and validation "
        "accuracy less the baseline's, in points, where there are classes. The best "
        "of five is chosen by the training loss."
    )


def measured(gate, task):
    first = next(iter(gate.results["rows"][task].values()))
    return ("accuracy",) if first["validation_accuracy"] is not None else ()


def release_gate_tasks():
    """Returns the table of every task."""
    return task_table(lambda values, adam: True, "")


def release_gate_losses():
    """Returns the table of the tasks where MetaAdam is behind Adam(0.001)."""
    return task_table(
        lambda values, adam: max(values) > BEHIND * adam,
        "All tasks where MetaAdam, with or without a known horizon, is behind. ",
    )


def task_table(wanted, words):
    """Returns a table of the tasks for which `wanted(MetaAdam's losses, Adam's)`."""
    gate = Gate(load("release_gate"))
    rows = []
    for task in gate.tasks:
        for steps in (200, 2_000, 10_000):
            if not gate.has(task, steps):
                continue
            baselines = gate.baselines(task, steps)
            values = [gate.value(task, LEARNED[kind], steps) for kind in LEARNED]
            adam = baselines["Adam(0.001)"]
            if not wanted(values, adam):
                continue
            cells = [f"{baselines[name]:.4g}" for name in SHORT]
            marks = [
                f"**{value:.4g}**" if value > BEHIND * adam else f"{value:.4g}"
                for value in values
            ]
            times = [
                f"{gate.fastest(task, label, steps):.1f}"
                for label in (LEARNED["known"], "Adam 0.001")
            ]
            rows.append([task, f"{steps:,}", *marks, *cells, " / ".join(times)])
    header = ["task", "steps", "MetaAdam", "horizon unknown", *SHORT.values()]
    return (
        f"{markdown([*header, 'ms a step'], rows)}\n\n{words}Final training losses, "
        "means of 3 seeds; in bold where MetaAdam is behind Adam(0.001). The last "
        "column is a step of `fit` with MetaAdam / with Adam, the fastest of the "
        "seeds, data included; the runs were not made side by side, and other work "
        "ran beside them."
    )


SHORT = {
    "Adam(0.001)": "Adam(0.001)",
    "best of 5 constant Adam": "best constant",
    "Adam(0.003), cosine": "0.003, cosine",
    "best of 5 Adam, cosine": "best, cosine",
    "best of 3 ScheduleFreeAdamW": "best schedule-free",
    "best of 5 SGD, momentum": "best SGD",
}


def plot(path):
    """Draws each task's ratios to four baselines, at 200 and at 2,000 steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    gate = Gate(load("release_gate"))
    figure, panels = plt.subplots(1, 2, figsize=(11, 7), sharey=True)
    places = np.arange(len(gate.tasks))
    for panel, steps in zip(panels, (200, 2_000), strict=True):
        for baseline in list(SHORT)[:4]:
            ratios = gate.ratios("known", baseline, steps)
            panel.plot(ratios, places, "o", label=SHORT[baseline], alpha=0.8)
        panel.axvline(1.0, color="black", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_xticks([t for t in TICKS if panel.get_xlim()[0] <= t <= 5.0])
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
        panel.set_title(f"{steps:,} steps")
        panel.set_xlabel("MetaAdam's final training loss, baseline = 1")
    panels[0].set_yticks(places, gate.tasks)
    panels[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    for table in (release_gate, release_gate_validation, release_gate_tasks):
        print(table(), end="\n\n")
    plot(HERE / "results" / "release_gate.png")
