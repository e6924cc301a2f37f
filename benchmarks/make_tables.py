"""Turns the JSON in `results/` into the README's tables.

Each table stands in the README between `<!-- table: NAME -->` and `<!-- end -->`.

    python benchmarks/make_tables.py [--check]

With `--check` nothing is written: the exit code is 1 if the README is not up to date.
"""

import argparse
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
README = HERE.parent / "README.md"


def load(name):
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def machine_line(machine):
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    return (
        f"{machine['cores']} {machine['architecture']} cores, Python "
        f"{machine['python']}, {packages}."
    )


def sinusoid_table():
    results = load("sinusoid_table")
    rows = []
    for row in results["rows"]:
        cells = [
            f"{t['mean']:.2f} ± {t['ci95']:.2f} ({t['paper']:.2f})"
            for t in row["test"].values()
        ]
        rows.append(
            [row["method"], row["train_shots"], *cells, f"{row['seconds']:.0f} s"]
        )
    shots = list(results["rows"][0]["test"])
    header = ["", "trained on shots", *[f"{n} test shots" for n in shots], "training"]
    return (
        f"{markdown(header, rows)}\n\nMean squared error after one step, "
        f"{results['test_tasks']} new tasks, 95 % intervals; in brackets the paper's "
        f"figure. {machine_line(results['machine'])}"
    )


def meta_step_time():
    results = load("meta_step_time")
    rows = []
    for case in results["results"]:
        for label, row in case["rows"].items():
            low, high = row["ratio_to_default"]["quartiles"]
            rows.append(
                [
                    case["case"],
                    label,
                    f"{row['milliseconds']['median']:.2f}",
                    f"{row['ratio_to_default']['median']:.2f} ({low:.2f}-{high:.2f})",
                ]
            )
    header = ["meta-step", "implementation", "ms", "time, ours = 1 (quartiles)"]
    return (
        f"{markdown(header, rows)}\n\n{results['rounds']} rounds, processes in turns. "
        f"{machine_line(results['machine'])}"
    )


def fit_step_time():
    results = load("fit_step_time")
    rows = []
    for name, row in results["rows"].items():
        low, high = row["ratio_to_sgd"]["quartiles"]
        rows.append(
            [
                f"`{name}`",
                f"{row['milliseconds']['median']:.1f}",
                f"{row['ratio_to_sgd']['median']:.2f} ({low:.2f}-{high:.2f})",
            ]
        )
    header = ["optimizer", "ms a step", "time, SGD = 1 (quartiles)"]
    return (
        f"{markdown(header, rows)}\n\n{results['parameters']:,} weights, batches of "
        f"{results['batch_size']}. {machine_line(results['machine'])}"
    )


def meta_step_memory():
    results = load("meta_step_memory")
    peaks = results["peak_mebibytes"]
    rows = [["peak, MiB", *[f"{value:.0f}" for value in peaks.values()]]]
    runs = []
    for name, readings in results["long_run_mebibytes"].items():
        # The first tenth holds compilation and the allocator's warm-up.
        settled = readings[len(readings) // 10 :]
        runs.append(f"{name} {settled[0]:.0f} to {settled[-1]:.0f} MiB")
    return (
        f"{markdown(['inner steps', *peaks], rows)}\n\n"
        f"{results['mebibytes_per_inner_step']:.1f} MiB an inner step, at most "
        f"{100 * results['largest_distance_from_line']:.1f} % off the line. Resident "
        f"memory along {results['long_run_meta_steps']:,} meta-steps: "
        f"{'; '.join(runs)}."
    )


def digits_demo():
    results = load("digits_demo")
    return results["table"]


TABLES = {
    "sinusoid_table": sinusoid_table,
    "meta_step_time": meta_step_time,
    "fit_step_time": fit_step_time,
    "meta_step_memory": meta_step_memory,
    "digits_demo": digits_demo,
}


def filled(text):
    """Returns the README with every table made anew."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- table: {name} -->\n)(?:.*?\n)??(<!-- end -->)"
        text, count = re.subn(
            pattern,
            lambda match, table=table: match[1] + table() + "\n" + match[2],
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(
                f"README.md must hold the table {name!r} once, between "
                f"`<!-- table: {name} -->` and `<!-- end -->`. Received: {count}."
            )
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    new = filled(old)
    if options.check:
        sys.exit(0 if new == old else "README.md is not what make_tables.py makes.")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
