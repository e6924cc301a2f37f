"""Runs drills by name, in a process of its own: they fork before TensorFlow starts.

    python -m tests.faults.drills.run RESULTS.json NAME=COUNT [NAME=COUNT ...]

Writes a list of `{"name", "fault", "count", "outcomes", "seconds"}`; one that failed
has `"failed"`, the reason, in place of `"outcomes"`.
"""

import json
import os
import pathlib
import sys
import tempfile
import time
import traceback

from tests.faults.drills import (
    concurrency,
    disks,
    full_disk_training,
    hostile_paths,
    killed_files,
    killed_runs,
    long_use,
    mutated_pools,
    mutated_presets,
    mutated_projects,
    not_finite,
)

# What forks comes first.
FORKING = (
    killed_files.killed_saves,
    killed_files.killed_first_saves,
    killed_files.killed_imports,
    killed_runs.killed_searches,
    killed_runs.killed_trainings,
    full_disk_training.full_disk_trainings,
    disks.full_disk_saves,
    disks.full_disk_imports,
    disks.full_disk_searches,
    disks.read_only_folders,
    concurrency.two_writers,
    concurrency.search_and_import,
    concurrency.workers,
)
OTHERS = (
    mutated_presets.damaged_presets,
    mutated_presets.forged_presets,
    mutated_projects.mutated_trials,
    mutated_projects.mutated_oracles,
    mutated_pools.damaged_pools,
    mutated_pools.forged_pools,
    hostile_paths.hostile_imports,
    not_finite.poisoned_tasks,
    not_finite.poisoned_losses,
    not_finite.poisoned_gradients,
    not_finite.poisoned_steps,
    not_finite.poisoned_scores,
    long_use.many_searches,
    long_use.many_meta_steps,
    concurrency.two_threads,
)
DRILLS = {drill.__name__: drill for drill in (*FORKING, *OTHERS)}


def run_drill(name, count):
    """Runs one drill in a folder of its own.

    Args:
        name: str, a key of `DRILLS`.
        count: int >= 1.

    Returns:
        dict, see above.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # Drills also look at it as another user.
        row = {"name": name, "fault": name, "count": count}
        try:
            drill = DRILLS[name](pathlib.Path(folder), count)
        except Exception as error:
            traceback.print_exc()
            row["failed"] = f"{type(error).__name__}: {error}"[:1_000]
        else:
            row |= {"fault": drill.fault, "count": drill.count}
            row["outcomes"] = dict(drill.outcomes.most_common())
    return row | {"seconds": round(time.monotonic() - begin, 1)}


def main():
    path, *wanted = sys.argv[1:]
    counts = dict(argument.split("=") for argument in wanted)
    unknown = sorted(set(counts) - set(DRILLS))
    if unknown:
        raise ValueError(
            f"No drills of these names: {', '.join(unknown)}. There are "
            f"{', '.join(DRILLS)}. Received: {wanted}."
        )
    rows = []
    for name in DRILLS:
        if name in counts:
            rows.append(run_drill(name, int(counts[name])))
            print(rows[-1], flush=True)
            pathlib.Path(path).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
