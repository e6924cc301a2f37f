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

LEARNED_ON = ("quadratics",)  # problems of learned_optimizers.py


def load(name):
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def markdown(header, rows):
    lines = ["| " + " | ".join(map(str, header)) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def machine_line(machine):
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    return (
        f"{machine['cores']} {machine['architecture']} cores, Python "
        f"{machine['python']}, {packages}."
    )


def with_quartiles(ratio):
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({low:.2f}-{high:.2f})"


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
            rows.append(
                [
                    case["case"],
                    label,
                    f"{row['milliseconds']['median']:.2f}",
                    with_quartiles(row["ratio_to_default"]),
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
        rows.append(
            [
                f"`{name}`",
                f"{row['milliseconds']['median']:.1f}",
                with_quartiles(row["ratio_to_sgd"]),
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


def against_peers():
    results = load("against_peers")
    rows = []
    for case in results["results"]:
        for label, row in case["rows"].items():
            ratios = [with_quartiles(ratio) for ratio in row["ratio_to"].values()]
            milliseconds = f"{row['milliseconds']['median']:.2f}"
            rows.append([case["case"], label, milliseconds, *[*ratios, ""][:2]])
    header = ["meta-step", "library", "ms", "time, ours = 1", "ours, threads set = 1"]
    return (
        f"{markdown(header, rows)}\n\nMedians and quartiles of {results['rounds']} "
        f"rounds, processes in turns. {machine_line(results['machine'])}"
    )


def two_cores():
    results = load("two_cores")
    rows = []
    for case in results["results"]:
        ratios = [*case["two_cores"].values(), case["two_processes"]]
        milliseconds = f"{case['one_core_milliseconds']['median']:.0f}"
        cells = [with_quartiles(ratio) for ratio in ratios]
        rows.append([case["filters"], case["queries"], milliseconds, *cells])
    labels = results["results"][0]["two_cores"]
    header = ["filters", "queries a class", "one core, ms", *labels, "two processes"]
    return (
        f"{markdown(header, rows)}\n\nSpeed of meta-training on two cores, one core = "
        f"1 (medians and quartiles of {results['rounds']} rounds); the last column is "
        "what two processes reach, a core each, at once. "
        f"{machine_line(results['machine'])}"
    )


def outlier_tasks():
    results = load("outlier_tasks")
    columns, table = [], {}
    for row in results["rows"]:
        kind = "shuffled" if row["factor"] == 1 else f"shuffled × {row['factor']:.0f}"
        column = f"{100 * row['share']:.0f} % {kind}" if row["share"] else "clean"
        if column not in columns:
            columns.append(column)
        means = [run["mean"] for run in row["runs"]]
        table.setdefault(row["reduction"], []).append(
            f"{row['mean']:.2f} ± {row['ci95']:.2f} ({min(means):.2f}-{max(means):.2f})"
        )
    rows = [[f"`{name}`", *cells] for name, cells in table.items()]
    return (
        f"{markdown(['`task_reduction`', *columns], rows)}\n\nMean squared error on "
        f"{results['test_tasks']} clean tasks after one step of Meta-SGD on "
        f"{results['shots']} shots, by what share of the training tasks was faulty: "
        f"mean over seeds {results['seeds']}, 95 % interval over tasks, in brackets "
        f"the range over seeds. {results['iterations']:,} meta-steps of "
        f"{results['meta_batch_size']} tasks. {machine_line(results['machine'])}"
    )


def recomputation():
    results = load("recomputation")
    rows = []
    for name in ("kept", "recomputed"):
        peaks = [f"{row[name]['peak_mebibytes']:.0f}" for row in results["rows"]]
        rows.append([f"{name}, MiB", *peaks])
    times = [
        row["recomputed"]["seconds"] / row["kept"]["seconds"] for row in results["rows"]
    ]
    rows.append(["time, kept = 1", *[f"{ratio:.2f}" for ratio in times]])
    steps = [row["inner_steps"] for row in results["rows"]]
    fits = results["runs_within_limit"]
    verdict = {True: "runs", False: "dies"}
    return (
        f"{markdown(['inner steps', *steps], rows)}\n\nIn a process that may hold "
        f"{results['limit_mebibytes']} MiB, {steps[-1]} steps: kept "
        f"{verdict[fits['kept']]}, recomputed {verdict[fits['recomputed']]}. "
        f"{machine_line(results['machine'])}"
    )


def learned_optimizers():
    parts = []
    for problem in LEARNED_ON:
        results = load(f"learned_optimizers_{problem}")
        rows = []
        for row in results["rows"]:
            name = f"{row.get('data', '')} {row['case']}".strip()
            ours = row["learned"]
            cells = [f"**{ours['compared']:.3f} ± {ours['ci95']:.3f}**"]
            for baseline in row["baselines"].values():
                cells.append(
                    f"{baseline['compared']:.3f} (rate {baseline['rate']:g}; "
                    f"{baseline['learned_minus_this']:+.3f} ± "
                    f"{baseline['learned_minus_this_ci95']:.3f})"
                )
            rows.append([f"{name}, {row['steps']} steps", *cells])
        header = ["", "learned", *results["rows"][0]["baselines"]]
        row = results["rows"][0]
        last = "step" if row["last"] == 1 else f"{row['last']} steps"
        parts.append(
            f"{markdown(header, rows)}\n\nMean loss of the last {last} on "
            f"{row['problems']} new problems; in brackets the best rate of the grid, "
            "chosen on these very problems, and the learned optimizer's loss minus "
            "this one's, paired, 95 % interval. "
            f"{results['meta_steps']:,} meta-steps in "
            f"{results['meta_training_seconds'] / 60:.1f} minutes. "
            f"{machine_line(results['machine'])}"
        )
    return "\n\n".join(parts)


def omniglot():
    files = sorted((HERE / "results" / "omniglot").glob("*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    columns = [f"{ways}-way {shots}-shot" for ways in (5, 20) for shots in (1, 5)]
    rows = []
    for result in results:
        row = result["row"]
        run, cells = row["run"], []
        for column in columns:
            accuracy = row["accuracy"].get(column)
            cells.append(_accuracy(run, accuracy) if accuracy else "")
        trained_on = f"{run['ways']}-way {run['shots']}-shot"
        statistics = "transductive" if run["statistics"] == "task" else "running"
        rows.append(
            [
                run["method"],
                run["net"],
                statistics,
                f"{trained_on}, {run['iterations']:,} x {run['meta_batch_size']}",
                *cells,
            ]
        )
    header = ["", "net", "batch norm", "meta-trained on, meta-steps x tasks", *columns]
    return (
        f"{markdown(header, sorted(rows))}\n\nAccuracy in % on characters of alphabets "
        "that were never seen in training, 600 episodes, 15 queries a class, 95 % "
        "intervals. Of learners that take steps: after as many as in training (Reptile "
        "5, others 1), then after more (Reptile 10, others 3). "
        f"{machine_line(results[0]['machine'])}"
    )


def _accuracy(run, accuracy):
    """After as many steps as in training, and after those of evaluation."""
    mean, interval = (
        [100 * value for value in accuracy[key]] for key in ("mean", "ci95")
    )
    last = f"{mean[-1]:.2f} ± {interval[-1]:.2f}"
    steps = run["inner_steps"]
    if len(mean) < 2 or steps == run["evaluation_steps"]:
        return last
    return f"{mean[steps]:.2f} ± {interval[steps]:.2f}; {last}"


def personalisation():
    parts = []
    for name in ("wisdm", "clinc150", "m4_hourly"):
        for table in load(name):
            rows = [
                [
                    row["method"],
                    f"{row['mean']:.3f} ± {row['ci95']:.3f}",
                    f"{row['difference']:+.3f} ± {row['difference_ci95']:.3f}"
                    if row["method"] != "meta-learned"
                    else "",
                    row["chosen"],
                ]
                for row in table["rows"]
            ]
            header = [table["title"], "mean", "meta-learned minus this", "chosen"]
            parts.append(markdown(header, rows))
    return "\n\n".join(parts)


def digits_demo():
    results = load("digits_demo")
    return results["table"]


TABLES = {
    "sinusoid_table": sinusoid_table,
    "meta_step_time": meta_step_time,
    "fit_step_time": fit_step_time,
    "meta_step_memory": meta_step_memory,
    "recomputation": recomputation,
    "against_peers": against_peers,
    "two_cores": two_cores,
    "outlier_tasks": outlier_tasks,
    "digits_demo": digits_demo,
    "omniglot": omniglot,
    "learned_optimizers": learned_optimizers,
    "personalisation": personalisation,
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
