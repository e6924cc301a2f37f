"""Turns the JSON in `results/` into the tables of the README and of `docs/`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, once a page; the
same table may stand on several pages.

    python benchmarks/make_tables.py [--check]

With `--check` nothing is written: the exit code is 1 if a page is not up to date.
"""

import argparse
import pathlib
import re
import sys

import accuracy_tables
import fault_tables
import gate_tables
import meta_adam_tables
import scaling_tables
import search_tables
from table_parts import load, machine_line, markdown, with_quartiles

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
MARKER = re.compile(r"<!-- table: (\S+) -->")


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


def unroll_time():
    results = load("unroll_time")
    rows = [
        [
            label,
            f"{row['milliseconds']['median']:.0f}",
            with_quartiles(row["ratio_to_default"]),
        ]
        for label, row in results["rows"].items()
    ]
    return (
        f"{markdown(['', 'ms a meta-step', 'time, ours = 1 (quartiles)'], rows)}\n\n"
        "128 runs on 10-dimensional quadratics, an LSTM of two layers of 20, windows "
        f"of 20 steps. {results['rounds']} rounds, processes in turns. "
        f"{machine_line(results['machine'])}"
    )


def optimizer_step_cost():
    results = load("optimizer_step_cost")
    sizes = sorted({row["weights"] for row in results["rows"]})
    table = {}
    for row in results["rows"]:
        low, high = row["time_adam_1_range"]
        label = (row["optimizer"], "XLA" if row["xla"] else "plain graph")
        table.setdefault(label, {})[row["weights"]] = (
            f"{row['milliseconds']:.1f} ms, {row['time_adam_1']:.0f} ({low:.0f}-"
            f"{high:.0f}), {row['extra_mebibytes']:.0f} MiB"
        )
    rows = [[*label, *[cells[n] for n in sizes]] for label, cells in table.items()]
    header = ["", "", *[f"{n:,} weights" for n in sizes]]
    return (
        f"{markdown(header, rows)}\n\nA step of the optimizer alone; its time with "
        "that of Keras' Adam in the same round = 1 (range); and what the process's "
        "peak memory grows by, from before the optimizer is made until after its "
        f"steps, TensorFlow's own start included. Medians of {results['rounds']} "
        f"rounds. {machine_line(results['machine'])}"
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


TABLES = {
    "sinusoid_table": accuracy_tables.sinusoid_table,
    "meta_step_time": meta_step_time,
    "fit_step_time": fit_step_time,
    "meta_step_memory": meta_step_memory,
    "unroll_time": unroll_time,
    "optimizer_step_cost": optimizer_step_cost,
    "recomputation": recomputation,
    "against_peers": against_peers,
    "two_cores": two_cores,
    "outlier_tasks": accuracy_tables.outlier_tasks,
    "digits_demo": accuracy_tables.digits_demo,
    "omniglot": accuracy_tables.omniglot,
    "learned_optimizers": accuracy_tables.learned_optimizers,
    "default_lstm": accuracy_tables.default_lstm,
    "meta_adam_step": meta_adam_tables.meta_adam_step,
    "meta_adam_ablation": meta_adam_tables.meta_adam_ablation,
    "poisoned_gradients": meta_adam_tables.poisoned_gradients,
    "release_gate": gate_tables.release_gate,
    "release_gate_validation": gate_tables.release_gate_validation,
    "release_gate_losses": gate_tables.release_gate_losses,
    "release_gate_tasks": gate_tables.release_gate_tasks,
    "lcbench": search_tables.lcbench,
    "lcbench_pasts": search_tables.lcbench_pasts,
    "pool_scale": search_tables.pool_scale,
    "scaling": scaling_tables.scaling,
    "cost_growth": scaling_tables.cost_growth,
    "network_bound": scaling_tables.network_bound,
    "personalisation": accuracy_tables.personalisation,
    "drills": fault_tables.drills,
}


def pages():
    """Returns the paths of the pages that may hold tables: README.md, docs/*.md."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text, page="README.md"):
    """Returns a page's text with every table made anew."""
    for name in MARKER.findall(text):
        if name not in TABLES:
            raise ValueError(
                f"{page} asks for the table {name!r}, which does not exist. It must "
                f"be one of {sorted(TABLES)}."
            )
        pattern = rf"(<!-- table: {name} -->\n)(?:.*?\n)??(<!-- end -->)"
        text, count = re.subn(
            pattern,
            lambda match, name=name: match[1] + TABLES[name]() + "\n" + match[2],
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(
                f"{page} must hold the table {name!r} once, between "
                f"`<!-- table: {name} -->` and `<!-- end -->`. Received: {count}."
            )
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = {page: page.read_text(encoding="utf-8") for page in pages()}
    new = {
        page: filled(text, page.relative_to(ROOT).as_posix())
        for page, text in old.items()
    }
    shown = {name for text in new.values() for name in MARKER.findall(text)}
    if missing := sorted(set(TABLES) - shown):
        raise ValueError(f"No page holds the tables {missing}.")
    changed = [page for page in old if new[page] != old[page]]
    if options.check:
        names = ", ".join(page.relative_to(ROOT).as_posix() for page in changed)
        sys.exit(f"Not what make_tables.py makes: {names}." if changed else 0)
    for page in changed:
        page.write_text(new[page], encoding="utf-8")


if __name__ == "__main__":
    main()
