"""What goes into the examples of personalisation, and the table that comes out."""

import argparse
import json
import os
import pathlib

import numpy as np


def parsed_arguments(description):
    """Returns the command line: `quick` bool, `output` path or None."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few steps only")
    parser.add_argument("--output", help="write the tables to this JSON file")
    return parser.parse_args()


def data_file(name):
    """Returns the path of a data file, or ends the program and says what is missing."""
    folder = os.environ.get("KERAS_META_DATA")
    path = pathlib.Path(folder or "") / name
    if not folder or not path.is_file():
        raise SystemExit(
            f"This example needs the file {name} in the folder that the environment "
            f"variable KERAS_META_DATA names. Received: KERAS_META_DATA={folder}. Set "
            "it to a folder that holds this file."
        )
    return path


def compare(title, scores, references, steps, best_is, groups=None):
    """Prints a table of methods, ours first, and returns it.

    Ours has the algorithm and the number of steps that were best on validation tasks.
    Every other method has its best learning rate and number of steps, chosen on the
    test tasks themselves: once of all numbers, once of those up to ours.

    Args:
        title: str, what the scores are.
        scores: dict from the method to its scores on the test tasks, a dict from
            algorithm or rate to a float array `(num_tasks, len(steps))`; "validation"
            has those of "meta-learned" on validation tasks.
        references: dict from the method to scores without a choice, `(num_tasks,)`.
        steps: increasing ints, the numbers of steps that were scored.
        best_is: `max` or `min`.
        groups: list of the test tasks' group names, to return each group's means.
    """
    name, column = _best_cell(scores["validation"], len(steps), best_is)
    chosen = {"meta-learned": scores["meta-learned"][name][:, column]}
    notes = {"meta-learned": f"{name}, {steps[column]} steps (by validation tasks)"}
    for method in [m for m in scores if m not in ("validation", "meta-learned")]:
        for extra, limit in ((", no more steps", column + 1), ("", len(steps))):
            name, best = _best_cell(scores[method], limit, best_is)
            chosen[method + extra] = scores[method][name][:, best]
            notes[method + extra] = f"{name}, {steps[best]} steps (by these tasks)"
    return _report(title, chosen | references, notes, groups)


def finish(arguments, tables):
    """Writes what `compare` returned to `--output`, and says what `--quick` is for."""
    if arguments.output is not None:
        text = json.dumps(tables, indent=1) + "\n"
        pathlib.Path(arguments.output).write_text(text, encoding="utf-8")
    if arguments.quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


def _best_cell(tables, limit, best_is):
    """Returns the name and the column, below `limit`, of the best mean over tasks."""
    cells = {
        (name, column): mean
        for name, values in tables.items()
        for column, mean in enumerate(values[:, :limit].mean(axis=0))
        if np.isfinite(mean)  # Large rates may diverge.
    }
    return best_is(cells, key=cells.get)


def _report(title, scores, notes, groups):
    first, rows = scores["meta-learned"], []
    print(f"{title}: mean over {len(first)} tasks, and meta-learned minus this method")
    for method, values in scores.items():
        mean, interval = _summary(values)
        gap, gap_interval = _summary(first - values)
        row = {"method": method, "mean": mean, "ci95": interval}
        row |= {"difference": gap, "difference_ci95": gap_interval}
        row["chosen"] = notes.get(method, "")
        print(
            f"  {method:34} {mean:.3f} ± {interval:.3f}   "
            f"{gap:+.3f} ± {gap_interval:.3f}   {row['chosen']}"
        )
        if groups is not None:
            row["groups"] = {
                group: float(values[np.array(groups) == group].mean())
                for group in dict.fromkeys(groups)
            }
        rows.append(row)
    return {"title": title, "num_tasks": len(first), "rows": rows}


def _summary(values):
    """Returns the mean over tasks and the half-width of its 95 % interval."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(1.96 * error)
