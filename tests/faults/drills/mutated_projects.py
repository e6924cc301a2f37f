"""KerasTuner's files that were damaged, or made up by somebody who means harm."""

import json
import math
import os
import shutil

from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_schema import PoolError
from tests.faults.drills.execution import nothing_executed
from tests.faults.drills.mutation import BYTES, SPLICES, damaged, drilled, spliced
from tests.faults.drills.outcome import Drill, bounded_memory, check_clear
from tests.faults.drills.projects import write_project

MEBIBYTES = 256
TRIALS = 4


def mutated_trials(folder, count):
    """Damages or splices one `trial.json`: that trial is told or read as it says."""
    return _drill(folder, count, "`trial.json`", "trial_1/trial.json")


def mutated_oracles(folder, count):
    """Damages or splices `oracle.json`: the trials are there all the same."""
    return _drill(folder, count, "`oracle.json`", "oracle.json")


def _drill(folder, count, what, name):
    drill = Drill(f"{what}: bytes damaged, or JSON spliced")
    project = write_project(folder / "project", TRIALS)
    path = project / name
    data = path.read_bytes()
    empty = folder / "empty.sqlite"
    ExperiencePool(empty)
    expected = _tasks(empty, folder, project)[0][0]

    @drilled(count, mutation=BYTES | SPLICES)
    def run(mutation):
        if mutation[0] in ("flip", "cut", "put", "write", "remove", "blank", "append"):
            path.write_bytes(damaged(data, mutation))
        elif mutation[0] == "double":
            path.write_bytes(damaged(data, mutation))
        else:
            text = spliced(json.loads(data), mutation)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        drill.record(_outcome(empty, folder, project, path, expected))

    run()
    return drill


def _outcome(empty, folder, project, path, expected):
    try:
        with bounded_memory(MEBIBYTES), nothing_executed(writes=True):
            tasks, skipped = _tasks(empty, folder, project)
    except ValueError as error:
        check_clear(error, project.name, (ValueError,))
        return "one clear error"
    (task,) = tasks
    names = [os.path.relpath(name, project) for name, _ in skipped]
    wanted = os.path.relpath(path, project)
    assert names in ([], [wanted]), skipped
    for _, reason in skipped:
        assert len(str(reason)) < 1_000, reason
    known = {trial.trial_id: trial for trial in expected.trials}
    others = [t for t in task.trials if known.get(t.trial_id) != t]
    # No trial but the damaged one is other than it was, none is there twice.
    assert len(task.trials) == TRIALS - (bool(names) and wanted != "oracle.json")
    assert len(others) <= (wanted != "oracle.json"), others
    for trial in others:
        _check_as_written(trial, json.loads(path.read_bytes()))
    if names:
        return "left out and named"
    return "read as it says" if others or task.space != expected.space else "harmless"


def _check_as_written(trial, content):
    """The score and the values are those of the file, or the score is none."""
    assert json.dumps(trial.values) == json.dumps(content["hyperparameters"]["values"])
    if trial.score is None:
        return
    assert math.isfinite(trial.score)
    assert trial.score == content["score"], (trial.score, content["score"])


def _tasks(empty, folder, project):
    path = folder / "pool.sqlite"
    shutil.copyfile(empty, path)
    pool = ExperiencePool(path)
    try:
        skipped = pool.import_project(project).skipped
    except PoolError as error:
        raise AssertionError("The pool is not what is damaged.") from error
    return pool.tasks(), skipped
