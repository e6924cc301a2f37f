"""Reads KerasTuner's project folders, of any version from 1.1 to 1.4.

A project is a folder with `oracle.json` and `trial_*/trial.json`. They are read as
JSON and nothing else: KerasTuner is not imported, no object is made from them.
"""

import dataclasses
import json
import math
import os
import stat

from keras_meta.tuner.pool_records import PastTrial
from keras_meta.tuner.project_objective import (
    BestValue,
    ProjectError,
    choose_objective,
)
from keras_meta.tuner.record_checks import checked_trial, plain_text
from keras_meta.tuner.space_config import merged_space, plain_space

ORACLE_FILE = "oracle.json"
TRIAL_FILE = "trial.json"
TRIAL_PREFIX = "trial_"
MAX_JSON_BYTES = 64 * 2**20
MAX_DEPTH = 8  # Of folders below the one that is searched.


@dataclasses.dataclass(frozen=True)
class Project:
    """Holds what a project folder says.

    Attributes:
        space: list of dicts, from `plain_space()`.
        objective: str.
        direction: `"min"` or `"max"`.
        trials: list of `PastTrial`, in the order in which they were started.
        positions: list of int, each trial's place in that order.
        skipped: list of `(path, reason)`, files that could not be read.
    """

    space: list
    objective: str
    direction: str
    trials: list
    positions: list
    skipped: list


@dataclasses.dataclass(frozen=True)
class _ReadTrial:
    """A trial, its space, and each metric's value in KerasTuner's eyes."""

    trial: PastTrial
    space: list
    bests: dict


def find_projects(directory):
    """Finds the project folders in a folder, itself included.

    Goes down eight levels, does not follow links.

    Args:
        directory: `pathlib.Path` of a folder.

    Returns:
        `(projects, skipped)`: list of `pathlib.Path`, sorted; list of `(path,
        reason)`, folders that could not be looked into.
    """
    projects, skipped, todo = [], [], [(directory, 0)]
    while todo:
        folder, depth = todo.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            folders = [e for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError as error:
            skipped.append((folder, f"cannot be looked into: {error}"))
            continue
        trials = [e for e in folders if e.name.startswith(TRIAL_PREFIX)]
        if any(entry.name == ORACLE_FILE for entry in entries) or any(
            os.path.lexists(os.path.join(entry.path, TRIAL_FILE)) for entry in trials
        ):
            projects.append(folder)
        if depth < MAX_DEPTH:
            todo += [(folder / e.name, depth + 1) for e in folders if e not in trials]
    return sorted(projects), skipped


def read_project(path, objective=None, direction=None):
    """Reads one project folder.

    Args:
        path: `pathlib.Path` of a folder with `oracle.json` or trials.
        objective: str or `keras_tuner.Objective`. Default: what the trials' scores
            show. If the search had another one, the trials are scored anew by this
            metric's best value.
        direction: `"min"` or `"max"`, for an objective that is a str. Default: what
            the files say, or the metric's name.

    Returns:
        `Project`.

    Raises:
        ProjectError: if no trial is intact, or the objective cannot be told.
    """
    skipped = []
    oracle = _intact(path / ORACLE_FILE, _read_oracle, skipped) or {}
    found = []
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        raise ProjectError(f"The folder cannot be looked into: {error}.") from error
    for entry in entries:
        if entry.name.startswith(TRIAL_PREFIX):
            file = path / entry.name / TRIAL_FILE
            if entry.is_symlink():
                skipped.append((path / entry.name, "is a link: links are not followed"))
            elif entry.is_dir():
                trial = _intact(file, _read_trial, skipped)
                if trial is not None:
                    found.append(trial)
    if not found:
        reasons = "".join(f" {file}: {reason}." for file, reason in skipped[:3])
        raise ProjectError(f"The project has no trial that can be read.{reasons}")
    space = oracle.get("space", [])
    if not space:
        for trial in found:
            space = merged_space(space, trial.space)
    name, direction, own = choose_objective(
        [(trial.trial.score, trial.bests) for trial in found], objective, direction
    )
    trials = [t.trial if own else _rescored(t, name, direction) for t in found]
    places = _places(trials, oracle.get("start_order", []))
    order = sorted(range(len(trials)), key=places.__getitem__)
    return Project(
        space=space,
        objective=plain_text(name),
        direction=direction,
        trials=[trials[i] for i in order],
        positions=[places[i] for i in order],
        skipped=skipped,
    )


def past_trial(state):
    """Returns a trial of a search as it would be read from its project.

    Args:
        state: dict, what `keras_tuner.engine.trial.Trial.get_state()` gives.

    Returns:
        `PastTrial`, with the score that KerasTuner gave it.

    Raises:
        ValueError: if the state is not a trial's.
    """
    return _parsed(state).trial


def _intact(path, read, skipped):
    """Reads one file, or notes why that is impossible and returns None."""
    try:
        return read(path)
    except FileNotFoundError:
        skipped.append((path, "is missing"))
    except OSError as error:
        skipped.append((path, f"cannot be read: {error}"))
    except (ValueError, RecursionError) as error:
        skipped.append((path, f"is damaged: {error}"))
    return None


def _read_json(path):
    information = os.lstat(path)
    if stat.S_ISLNK(information.st_mode):
        raise ValueError("it is a link: links are not followed")
    if not stat.S_ISREG(information.st_mode):
        raise ValueError("not a regular file")
    if information.st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"it has {information.st_size} bytes, at most {MAX_JSON_BYTES} are read"
        )
    with open(path, "rb") as file:
        text = file.read(information.st_size)
    content = json.loads(text, object_pairs_hook=_without_doubles)
    if not isinstance(content, dict):
        raise ValueError(f"a JSON object was expected, not {type(content).__name__}")
    return content


def _without_doubles(pairs):
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {double[:80]!r} stands twice in an object")
    return content


def _read_oracle(path):
    content = _read_json(path)
    order = content.get("start_order", [])  # Since KerasTuner 1.2.
    if not isinstance(order, list):
        raise ValueError("its start_order is not a list")
    parameters = content.get("hyperparameters")
    return {"space": plain_space(parameters), "start_order": list(map(str, order))}


def _read_trial(path):
    content = _read_json(path)
    if content.get("trial_id") is None:
        content["trial_id"] = path.parent.name.removeprefix(TRIAL_PREFIX)
    return _parsed(content)


def _parsed(content):
    parameters = content.get("hyperparameters")
    if not isinstance(parameters, dict):
        raise ValueError("it has no hyperparameters")
    metrics = content.get("metrics") or {}
    metrics = metrics.get("metrics") if isinstance(metrics, dict) else None
    if metrics is not None and not isinstance(metrics, dict):
        raise ValueError("its metrics are not an object")
    executions = {
        name: _executions(name, history) for name, history in (metrics or {}).items()
    }
    trial = checked_trial(
        {
            "values": parameters.get("values"),
            "score": content.get("score"),
            "status": content.get("status"),
            "trial_id": content.get("trial_id"),
            "best_step": content.get("best_step"),
            "message": content.get("message"),
            "metrics": {
                name: {"direction": direction, "observations": _curve(steps)}
                for name, (direction, steps) in executions.items()
            },
        }
    )
    bests = {name: _best(*execution) for name, execution in executions.items()}
    return _ReadTrial(trial, plain_space(parameters), bests)


def _executions(name, history):
    """Returns a metric's direction and, by step, the values of all executions."""
    direction = history.get("direction") if isinstance(history, dict) else None
    observations = history.get("observations") if direction else None
    if direction not in ("min", "max") or not isinstance(observations, list):
        raise ValueError(f"its metric {name!r} has no direction or no observations")
    steps = {}
    for observation in observations:
        if not isinstance(observation, dict) or "step" not in observation:
            raise ValueError(f"its metric {name!r} has an observation without a step")
        values = observation.get("value")
        values = values if isinstance(values, list) else [values]
        if not values or not all(type(value) in (int, float) for value in values):
            raise ValueError(f"its metric {name!r} has a value that is no number")
        if type(observation["step"]) not in (int, float):
            raise ValueError(f"its metric {name!r} has a step that is no number")
        steps[observation["step"]] = values
    return direction, steps


def _curve(steps):
    """Returns one value a step: the mean over executions, or the last of them.

    Where a trial was cut short and run again, the values of the second run stand
    behind those of the first, for the steps that the first had reached: then not
    all steps have as many, and only the last ones are of one run.
    """
    even = len(set(map(len, steps.values()))) < 2
    return [
        [step, _mean(values) if even else values[-1]] for step, values in steps.items()
    ]


def _best(direction, steps):
    means = {step: _mean(values) for step, values in steps.items()}
    numbers = [step for step in means if not math.isnan(means[step])]
    if not numbers:
        return BestValue(direction, math.nan, None)
    step = (min if direction == "min" else max)(numbers, key=means.__getitem__)
    return BestValue(direction, means[step], step)


def _mean(values):
    try:
        return math.fsum(values) / len(values)
    except (OverflowError, ValueError):
        return math.nan  # Infinities of both signs, or an int beyond all floats.


def _rescored(read, name, direction):
    """Returns a trial with the score that this metric gives it."""
    trial = dataclasses.replace(read.trial, score=None, best_step=None)
    if trial.status != "COMPLETED":
        return trial
    curve = trial.metrics.get(name, {}).get("observations", [])
    points = [(value, step) for step, value in curve if value is not None]
    if not points:
        reason = trial.message or f"The trial has no value of {name!r}."
        return dataclasses.replace(trial, message=reason)
    best = min if direction == "min" else max
    score, step = best(points, key=lambda point: point[0])
    return dataclasses.replace(trial, score=score, best_step=step)


def _places(trials, start_order):
    """Returns each trial's place; those that the order lacks come last, by id."""
    place = {trial_id: index for index, trial_id in enumerate(start_order)}
    rest = sorted({t.trial_id for t in trials if t.trial_id not in place}, key=_natural)
    place |= {trial_id: len(start_order) + i for i, trial_id in enumerate(rest)}
    return [place[trial.trial_id] for trial in trials]


def _natural(trial_id):
    """Sorts "9" before "10" and "010": ids are padded to the number of trials."""
    number = int(trial_id) if trial_id.isdecimal() and len(trial_id) < 20 else math.inf
    return number, trial_id
