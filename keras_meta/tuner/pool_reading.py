"""Reads tasks and trials from the rows of an experience pool."""

import dataclasses
import json

from keras_meta.tuner.pool_records import PastTask, PastTrial
from keras_meta.tuner.pool_seals import DamagedRow, checked_tasks, checked_trials
from keras_meta.tuner.trial_matching import content_key


def read_tasks(connection, objective=None, direction=None):
    """Reads tasks with their trials, in the order in which they were written.

    Args:
        connection: `sqlite3.Connection` within a transaction.
        objective: str, only tasks of this objective. Default: all.
        direction: `"min"` or `"max"`, only tasks of this direction. Default: both.

    Yields:
        `PastTask`.

    Raises:
        DamagedRow: if a task or a trial is not as it was written, or missing.
    """
    for task_id, name, source, space, *goal, description, _, count in checked_tasks(
        connection
    ):
        _check_kinds((name, *goal), (str,))
        _check_kinds((source,), (str, type(None)))
        if objective not in (None, goal[0]) or direction not in (None, goal[1]):
            continue
        rows = checked_trials(connection, "task = ?", task_id)
        trials = [trial_of(*cells) for _, _, _, _, *cells in rows]
        if count not in (None, len(trials)):
            raise DamagedRow(f"{len(trials)} of {count} trials of a task are there")
        yield PastTask(
            name=name,
            source=source,
            space=_parsed(space, list),
            objective=goal[0],
            direction=goal[1],
            description=None if description is None else _parsed(description, dict),
            trials=trials,
        )


def count_tasks(connection):
    """Counts the tasks; raises `DamagedRow` if one is missing."""
    return len(checked_tasks(connection))


def count_trials(connection):
    """Counts the trials of all tasks; raises `DamagedRow` if one is missing."""
    (found,) = connection.execute("SELECT count(*) FROM trials").fetchone()
    counts = [count for *_, count in checked_tasks(connection)]
    if None not in counts and found != sum(counts):
        raise DamagedRow(f"{found} of {sum(counts)} trials are there")
    return found


def stored_trials(connection, task_id):
    """Returns a task's trials that have an id, each with its content key."""
    rows = checked_trials(connection, "task = ? AND trial_id IS NOT NULL", task_id)
    return [(trial_of(*cells), content) for _, _, _, content, *cells in rows]


def stored_trial(connection, row_id):
    """Returns the trial of a row."""
    for _, _, _, _, *cells in checked_trials(connection, "id = ?", row_id):
        return trial_of(*cells)
    raise DamagedRow("a trial is missing")


def trial_of(trial_id, values, status, score, best_step, seconds, message, metrics):
    """Returns the `PastTrial` of a row's cells.

    Raises:
        DamagedRow: if a cell is of another kind.
    """
    _check_kinds((score, seconds), (float, type(None)))
    _check_kinds((best_step,), (int, type(None)))
    _check_kinds((trial_id, message), (str, type(None)))
    _check_kinds((status,), (str,))
    return PastTrial(
        values=_parsed(values, dict),
        score=score,
        status=status,
        trial_id=trial_id,
        best_step=best_step,
        seconds=seconds,
        message=message,
        metrics=_parsed(metrics, dict),
    )


def is_intact(content, *cells):
    """Tells whether a trial's cells are what its content key says."""
    trial = trial_of(*cells)
    if content == content_key(trial):
        return True
    # SQLite keeps -0.0 as 0.0; the key is that of what was given.
    return trial.score == 0.0 and content == content_key(
        dataclasses.replace(trial, score=-0.0)
    )


def write_lines(connection, file):
    """Writes one line of JSON for each trial, with the facts of its task.

    Args:
        connection: `sqlite3.Connection` within a transaction.
        file: text file that is open for writing.

    Returns:
        int, the number of lines.
    """
    count = 0
    for task in read_tasks(connection):
        facts = {
            "task": task.name,
            "source": task.source,
            "objective": task.objective,
            "direction": task.direction,
            "description": task.description,
            "space": task.space,
        }
        for trial in task.trials:
            file.write(json.dumps(facts | dataclasses.asdict(trial)) + "\n")
        count += len(task.trials)
    return count


def _check_kinds(cells, kinds):
    for cell in cells:
        if type(cell) not in kinds:
            raise DamagedRow(f"a cell is a {type(cell).__name__}")


def _parsed(text, kind):
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedRow(f"{type(error).__name__} in a cell") from error
    if not isinstance(value, kind):
        raise DamagedRow(f"a cell is a {type(value).__name__}, not a {kind.__name__}")
    return value
