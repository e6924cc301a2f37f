"""Tables of MetaAdam beside those of the release gate: its cost, faults, ablation."""

import math

import numpy as np
from table_parts import load, machine_line, markdown, with_quartiles


def meta_adam_step():
    results = load("meta_adam_step")
    rows = []
    for label, case in results["rows"].items():
        for name, row in case["optimizers"].items():
            slots = row["state_entries"] / case["parameters"]
            rows.append(
                [
                    label,
                    f"`{name}`",
                    f"{row['milliseconds']['median']:.2f}",
                    with_quartiles(row["ratio_to_adam"]),
                    f"{slots:.2f}",
                ]
            )
    header = ["model", "optimizer", "ms a step", "time, Adam = 1 (quartiles)", "slots"]
    return (
        f"{markdown(header, rows)}\n\nA step of `fit`, batches of 32; slots are the "
        "optimizer's state entries a weight. The optimizers take turns; a ratio is "
        f"between neighbouring epochs. {machine_line(results['machine'])}"
    )


def poisoned_gradients():
    results = load("poisoned_gradients")
    rows = []
    for row in results["rows"]:
        cells = []
        for losses in row["losses"].values():
            finite = [loss for loss in losses if loss is not None]
            mean = f"{np.mean(finite):.4g}" if len(finite) == len(losses) else "NaN"
            cells.append(mean)
        skipped = [c["skipped_steps"] for c in row["counters"]["MetaAdam"]]
        rows.append([row["task"], row["poison"], *cells, f"{np.mean(skipped):.0f}"])
    header = ["task", "poison", *results["rows"][0]["losses"], "steps skipped"]
    return (
        f"{markdown(header, rows)}\n\nLoss on 2,000 clean training examples after "
        f"{results['steps']:,} steps, means of 3 seeds. "
        f"{machine_line(results['machine'])}"
    )


def meta_adam_ablation():
    results = load("meta_adam_ablation")
    rows = []
    for name, row in results["rows"].items():
        cells = [
            f"{mean:.2f} ({worst:.2f})"
            for mean, worst in (r["Adam 1e-3"] for r in row["ratios"].values())
        ]
        rows.append([name, *cells, f"{math.exp(row['score']):.3f}"])
    columns = []
    for column in next(iter(results["rows"].values()))["ratios"]:
        steps, known = column.split(", ")
        known = ", horizon known" if known == "1" else ""
        columns.append(f"{int(steps):,} steps{known}")
    return (
        f"{markdown(['controller', *columns, 'score'], rows)}\n\nAfter "
        f"{results['meta_steps']:,} meta-steps each. Final training losses "
        f"beside Adam(0.001)'s on {len(results['tasks'])} validation tasks: geometric "
        "mean (worst task). The score, by which a controller is chosen, is the mean "
        "ratio, and half of the worst task's where that is above 1. "
        f"{machine_line(results['machine'])}"
    )
