"""Writes tasks and trials to the rows of an experience pool."""

import collections
import dataclasses
import itertools
import json
import os
import time

from keras_meta.tuner.pool_reading import stored_trial, stored_trials
from keras_meta.tuner.pool_seals import (
    TASK_CELLS,
    UNSEALED,
    check_seal,
    seal_task,
)
from keras_meta.tuner.space_config import merged_space
from keras_meta.tuner.trial_matching import (
    NEWER,
    OTHER,
    compare_trials,
    content_key,
    is_finished,
    same_copy,
    same_search,
)

COLUMNS = 'trial_id, "values", status, score, best_step, seconds, message, metrics'
MAX_LOOKUPS = 400  # Of SQLite's variables in one statement.


def save_task(connection, task):
    """Writes a task's facts, or joins them with those of the task of its name.

    Args:
        connection: `sqlite3.Connection` within a transaction that writes.
        task: `PastTask`, its trials are not written. A description or source that
            is None leaves the one that is there.

    Returns:
        int, the row's id.

    Raises:
        ValueError: if the pool has a task of this name with another objective.
    """
    row = connection.execute(
        f"SELECT seal, {TASK_CELLS} FROM tasks WHERE name = ?", (task.name,)
    ).fetchone()
    description = None if task.description is None else _json(task.description)
    if row is None:
        task_id = connection.execute(
            "INSERT INTO tasks (name, source, space, objective, direction, "
            "description, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                task.name,
                task.source,
                _json(task.space),
                task.objective,
                task.direction,
                description,
                time.time(),
            ),
        ).lastrowid
        connection.execute("UPDATE totals SET tasks = tasks + 1")
        seal_task(connection, task_id)
        return task_id
    check_seal(*row)
    _, task_id, _, _, space, objective, direction, *_ = row
    if (objective, direction) != (task.objective, task.direction):
        raise ValueError(
            f"The pool's task {task.name!r} has the objective {objective!r} "
            f"({direction}): trials of another objective need a task of their own. "
            f"Received: objective={task.objective!r}, direction={task.direction!r}."
        )
    connection.execute(
        "UPDATE tasks SET space = ?, source = coalesce(?, source), "
        "description = coalesce(?, description) WHERE id = ?",
        (
            _json(merged_space(json.loads(space), task.space)),
            task.source,
            description,
            task_id,
        ),
    )
    seal_task(connection, task_id)
    return task_id


def stored_direction(connection, name, objective):
    """Looks up the direction of a task's objective.

    Args:
        connection: `sqlite3.Connection`.
        name: str, the task's name.
        objective: str, the objective's name.

    Returns:
        `"min"`, `"max"`, or None if there is no such task.
    """
    row = connection.execute(
        "SELECT direction FROM tasks WHERE name = ? AND objective = ?",
        (name, objective),
    ).fetchone()
    return row and row[0]


def find_search(connection, task, copies=True):
    """Finds the task that holds an earlier reading of the same search.

    Args:
        connection: `sqlite3.Connection`.
        task: `PastTask` as a project has it now, its trials with their ids.
        copies: bool, also look for a reading from another folder.

    Returns:
        `PastTask`, `task` with the name and the source that the pool's task is to
        have, or None.
    """
    seen = [(trial, content_key(trial)) for trial in task.trials]
    keys = [key for trial, key in seen if copies and is_finished(trial)][:MAX_LOOKUPS]
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(
        "SELECT id, name, source FROM tasks WHERE objective = ? AND direction = ? "
        f"AND (source = ? OR id IN (SELECT task FROM trials WHERE content IN ({marks})"
        "))",
        (task.objective, task.direction, task.source, *keys),
    ).fetchall()
    most, found = 0, None
    for task_id, name, source in rows:
        stored = stored_trials(connection, task_id)
        moved = source is None or not os.path.exists(source)
        if source == task.source:
            likeness = same_search(stored, seen)
        else:
            likeness = same_copy(stored, seen, moved)
        if likeness > most:
            source = task.source if moved else source
            most, found = likeness, dataclasses.replace(task, name=name, source=source)
    return found


def free_name(connection, name):
    """Returns a name that no task of the pool has: `name`, or `name (2)` and so on."""
    names = itertools.chain([name], (f"{name} ({i})" for i in itertools.count(2)))
    for candidate in names:
        if not connection.execute(
            "SELECT 1 FROM tasks WHERE name = ?", (candidate,)
        ).fetchone():
            return candidate


def merge_trials(connection, task_id, trials, positions=None):
    """Writes the trials that a task does not have, and those that have gone on.

    A trial that is stored is known by its id and its content; without an id, by
    its content, as often as it is given.

    Args:
        connection: `sqlite3.Connection` within a transaction that writes.
        task_id: int, the task's row.
        trials: list of `PastTrial` of plain values.
        positions: list of int, each trial's place in its search. Default: new
            trials come after those that are there.

    Returns:
        `(added, updated, unchanged)`, counts of trials.
    """
    if positions is None:
        (last,) = connection.execute(
            "SELECT max(position) FROM trials WHERE task = ?", (task_id,)
        ).fetchone()
        first = 0 if last is None else last + 1
        places = itertools.repeat(None)
    else:
        places = positions
    rows = connection.execute(
        "SELECT id, trial_id, content, position FROM trials WHERE task = ? "
        "ORDER BY position, id",
        (task_id,),
    ).fetchall()
    by_key, by_id = collections.defaultdict(list), collections.defaultdict(list)
    for row_id, trial_id, content, position in rows:
        by_key[trial_id, content].append((row_id, position))
        if trial_id is not None:
            by_id[trial_id].append(row_id)
    used, left, moved = set(), [], []
    for trial, place in zip(trials, places, strict=positions is not None):
        key = content_key(trial)
        same = by_key.get((trial.trial_id, key))
        if not same:
            left.append((trial, key, place))
            continue
        row_id, position = same.pop()
        used.add(row_id)
        if trial.seconds is not None or place not in (None, position):
            stored_trial(connection, row_id)  # Raises if the row is damaged.
            moved.append((place, trial.seconds, row_id))
    added, updated = [], []
    for trial, key, place in left:
        row_id, relation = _matching_row(connection, by_id, used, trial)
        if relation == OTHER:
            place = first + len(added) if place is None else place
            added.append((task_id, place, key, *_cells(trial)))
        elif relation == NEWER:
            used.add(row_id)
            updated.append((place, key, *_cells(trial), row_id))
        else:
            used.add(row_id)
    connection.executemany(
        "UPDATE trials SET position = coalesce(?, position), "
        f"seconds = coalesce(seconds, ?), seal = '{UNSEALED}' WHERE id = ?",
        moved,
    )
    connection.executemany(
        "UPDATE trials SET position = coalesce(?, position), content = ?, "
        'trial_id = ?, "values" = ?, status = ?, score = ?, best_step = ?, '
        "seconds = coalesce(?, seconds), message = ?, metrics = ?, "
        f"seal = '{UNSEALED}' WHERE id = ?",
        updated,
    )
    connection.executemany(
        f"INSERT INTO trials (task, position, content, {COLUMNS}, seal) "
        f"VALUES ({', '.join('?' * 11)}, '{UNSEALED}')",
        added,
    )
    seal_task(connection, task_id, len(added))
    return len(added), len(updated), len(trials) - len(added) - len(updated)


def _matching_row(connection, by_id, used, trial):
    """Returns the row that a trial of another content goes on from, if any."""
    for row_id in by_id.get(trial.trial_id, ()):
        if row_id not in used:
            relation = compare_trials(stored_trial(connection, row_id), trial)
            if relation != OTHER:
                return row_id, relation
    return None, OTHER


def _cells(trial):
    return (
        trial.trial_id,
        _json(trial.values),
        trial.status,
        trial.score,
        trial.best_step,
        trial.seconds,
        trial.message,
        _json(trial.metrics),
    )


def _json(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
