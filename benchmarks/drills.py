"""Fault drills at their full counts: kills, full disks, damaged files, concurrency.

The drills are those of `tests/faults/drills`; `tests/faults` runs them at smaller
counts. Writes `results/drills.json`. Needs Linux and hypothesis, about 15 minutes.

    python benchmarks/drills.py [--drills NAME ...] [--quick]

With `--drills` the other rows of the JSON stay as they are.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from recording import machine, recorded_here, write_json

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
# Two processes at once. In the first, drills fork: TensorFlow must not have started.
GROUPS = (
    {
        "killed_trainings": 20,
        "killed_searches": 20,
        "killed_imports": 20,
        "killed_saves": 20,
        "killed_first_saves": 20,
        "full_disk_trainings": 5,
        "full_disk_searches": 20,
        "full_disk_imports": 20,
        "full_disk_saves": 20,
        "read_only_folders": 20,
        "two_writers": 200,
        "search_and_import": 20,
        "workers": 8,
    },
    {
        "damaged_presets": 500,
        "forged_presets": 500,
        "mutated_trials": 500,
        "mutated_oracles": 500,
        "damaged_pools": 500,
        "forged_pools": 500,
        "hostile_imports": 100,
        "poisoned_tasks": 20,
        "poisoned_losses": 6,
        "poisoned_gradients": 100,
        "poisoned_steps": 100,
        "poisoned_scores": 20,
        "many_meta_steps": 10_000,
        "many_searches": 500,
        "two_threads": 5,
    },
)
QUICK = {"killed_saves": 2, "damaged_presets": 20}


def run_groups(groups):
    """Runs each group's drills in a process; returns all their rows by name."""
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for index, counts in enumerate(groups):
            path = pathlib.Path(folder) / f"{index}.json"
            wanted = [f"{name}={count}" for name, count in counts.items()]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.drills.run", str(path), *wanted],
                env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
                cwd=ROOT,
            )
            started.append((process, path))
        rows = {}
        for process, path in started:
            if process.wait():
                raise RuntimeError(f"The drills ended with {process.returncode}.")
            rows |= {row["name"]: row for row in json.loads(path.read_text())}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--drills", nargs="+", help="only these")
    parser.add_argument("--output", default=HERE / "results" / "drills.json")
    options = parser.parse_args()
    names = [name for group in GROUPS for name in group]
    chosen = options.drills or (list(QUICK) if options.quick else names)
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no drills of the names {unknown}: there are {names}")
    groups = [
        {
            name: QUICK.get(name, 1) if options.quick else count
            for name, count in group.items()
            if name in chosen
        }
        for group in GROUPS
    ]
    rows, output = {}, pathlib.Path(options.output)
    if options.drills and output.exists():
        rows = {row["name"]: row for row in recorded_here(output)["rows"]}
    rows |= run_groups([group for group in groups if group])
    ordered = [rows[name] for name in names if name in rows]
    write_json(output, {"machine": machine(), "rows": ordered})
    failed = [row["name"] for row in ordered if "failed" in row]
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
