"""Runs random searches whose trials fill an experience pool."""

import contextlib
import dataclasses
import hashlib
import random
import tempfile
import time
import urllib.parse
from pathlib import Path

from keras_meta.tuner.pool_import import write_project
from keras_meta.tuner.pool_records import ImportReport
from keras_meta.tuner.pool_schema import writing
from keras_meta.tuner.project_import import read_project
from keras_meta.tuner.project_objective import ProjectError

try:
    import keras_tuner
except ModuleNotFoundError as error:
    if error.name != "keras_tuner":
        raise
    raise ModuleNotFoundError(
        "`ExperiencePool.collect()` runs its searches with KerasTuner, which is not "
        "installed: run `pip install keras-tuner`.",
        name=error.name,
    ) from error

MAX_FOLDER_NAME = 80


class TimedRandomSearch(keras_tuner.RandomSearch):
    """Searches at random, and notes how long each trial takes.

    Attributes:
        seconds: dict of trial id to float, for trials that this object ran.
    """

    def __init__(self, *args, **kwargs):
        self.seconds = {}
        self._started = None
        super().__init__(*args, **kwargs)

    def on_trial_begin(self, trial):
        self._started = time.monotonic()
        super().on_trial_begin(trial)

    def on_trial_end(self, trial):
        self.seconds[trial.trial_id] = time.monotonic() - self._started
        super().on_trial_end(trial)


def collect_trials(
    pool_path,
    hypermodel,
    tasks,
    trials,
    objective,
    directory=None,
    seed=None,
    search_arguments=None,
):
    """Runs one random search for each task, and writes what came of it.

    Args:
        pool_path: `pathlib.Path`, the pool's file.
        hypermodel: `keras_tuner.HyperModel` or function that builds a model.
        tasks: dict of task name to dict of arguments of `Tuner.search()`.
        trials: int >= 1, trials for each task.
        objective: str or `keras_tuner.Objective`.
        directory: str or `os.PathLike`, for the projects. Default: one that is
            removed.
        seed: int >= 0. Default: another one each time.
        search_arguments: dict of arguments of `Tuner.search()` for all tasks.

    Returns:
        `ImportReport` over all tasks.

    Raises:
        ValueError: if an argument is not as described.
    """
    _check_arguments(tasks, trials, seed)
    draw = random.Random(seed)
    report = ImportReport()
    with contextlib.ExitStack() as stack:
        stays = directory is not None
        if not stays:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
        for name, arguments in tasks.items():
            tuner = TimedRandomSearch(
                hypermodel,
                objective=objective,
                max_trials=trials,
                # KerasTuner takes 0 for no seed.
                seed=draw.randrange(1, 2**31),
                directory=str(directory),
                project_name=_folder_name(name),
            )
            try:
                tuner.search(**{**(search_arguments or {}), **arguments})
            finally:
                # After a fault or an interruption too: the trials are paid for.
                report += _write(pool_path, name, tuner, stays)
    return report


def _write(pool_path, name, tuner, stays):
    path = Path(tuner.project_dir).resolve()
    try:
        project = read_project(path, tuner.oracle.objective)
    except ProjectError as error:
        return ImportReport(skipped=[(path, str(error))])
    timed = [
        dataclasses.replace(trial, seconds=tuner.seconds.get(trial.trial_id))
        for trial in project.trials
    ]
    with writing(pool_path) as connection:
        return write_project(
            connection,
            dataclasses.replace(project, trials=timed),
            path if stays else None,
            name=name,
        )


def _check_arguments(tasks, trials, seed):
    if (
        not isinstance(tasks, dict)
        or not tasks
        or not all(
            isinstance(name, str) and name and isinstance(arguments, dict)
            for name, arguments in tasks.items()
        )
    ):
        raise ValueError(
            "Argument `tasks` must be a dict of task name to the dict of arguments of "
            f"`Tuner.search()`. Received: tasks of type {type(tasks).__name__}."
        )
    if type(trials) is not int or trials < 1:
        raise ValueError(
            f"Argument `trials` must be an int >= 1. Received: trials={trials!r}."
        )
    if seed is not None and (type(seed) is not int or seed < 0):
        raise ValueError(
            f"Argument `seed` must be an int >= 0 or None. Received: seed={seed!r}."
        )


def _folder_name(name):
    """Returns a folder's name that is the task's own, whatever characters it has."""
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    quoted = urllib.parse.quote(name, safe=" ", errors="backslashreplace")
    return f"{quoted[:MAX_FOLDER_NAME]}-{digest}"
