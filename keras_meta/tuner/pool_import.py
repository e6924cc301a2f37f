"""Writes what project folders say into an experience pool."""

import dataclasses
from pathlib import Path

from keras_meta.tuner.pool_records import ImportReport, PastTask
from keras_meta.tuner.pool_rows import find_search, free_name, merge_trials, save_task
from keras_meta.tuner.pool_schema import writing
from keras_meta.tuner.project_import import (
    ORACLE_FILE,
    TRIAL_FILE,
    find_projects,
    read_project,
)
from keras_meta.tuner.project_objective import ProjectError
from keras_meta.tuner.record_checks import plain_text

PROJECTS_AT_ONCE = 50  # Bounds the memory, and how long other writers wait.


def import_folder(pool_path, folder, name=None, objective=None, direction=None):
    """Reads the projects in a folder and writes them, fifty in a transaction.

    Args:
        pool_path: `pathlib.Path`, the pool's file.
        folder: str or `os.PathLike`, a project or a folder above projects.
        name: str, the name of the task, or the first part of the names of several.
            Default: the folder's. A search that the pool knows keeps its name.
        objective: str or `keras_tuner.Objective`. Default: what the scores show.
        direction: `"min"` or `"max"`, for an objective that is a str.

    Returns:
        `ImportReport`.

    Raises:
        ValueError: if there is no project, or none whose objective can be told.
        PoolError: if the pool cannot be written.
    """
    top = Path(folder).resolve()
    projects, skipped = checked_projects(folder)
    report, refused = ImportReport(skipped=skipped), []
    for first in range(0, len(projects), PROJECTS_AT_ONCE):
        read = []
        for path in projects[first : first + PROJECTS_AT_ONCE]:
            try:
                read.append((path, read_project(path, objective, direction)))
            except ProjectError as error:
                refused.append((path, str(error)))
        with writing(pool_path) as connection:
            for path, project in read:
                report += write_project(connection, project, path, top, name)
    if refused and not report.tasks:
        reasons = " ".join(f"{path}: {reason}" for path, reason in refused[:3])
        raise ValueError(f"No project could be imported. {reasons}")
    report.skipped.extend(refused)
    return report


def checked_projects(folder):
    """Returns the projects in a folder, see `find_projects()`; there is at least one.

    Raises:
        ValueError: if there is none.
    """
    top = Path(folder).resolve()
    if not top.is_dir():
        raise ValueError(
            "Argument `directory` must be a folder that exists. "
            f"Received: directory={str(folder)!r}."
        )
    projects, skipped = find_projects(top)
    if not projects:
        raise ValueError(
            "Argument `directory` must be a KerasTuner project or have one in it: a "
            f"folder with '{ORACLE_FILE}' or with 'trial_*/{TRIAL_FILE}'. "
            f"Received: directory={str(folder)!r}, which has none."
        )
    return projects, skipped


def write_project(connection, project, path, top=None, name=None):
    """Writes one project to the task that it is known by, or to a new one.

    Args:
        connection: `sqlite3.Connection` within a transaction that writes.
        project: `Project`.
        path: `pathlib.Path`, the project's folder, resolved, or None if it will not
            stay: then `name` must be given.
        top: `pathlib.Path`, `path` or a folder above: what lies between becomes
            part of the name. Default: `path`.
        name: str, the task's name. Default: the last part of `top`, with a number
            behind it if another search has it.

    Returns:
        `ImportReport`.

    Raises:
        ValueError: if the pool's task called `name` has another objective.
    """
    inner = path.relative_to(top).parts if path and top else ()
    wanted = plain_text("/".join([name or (top or path).name or "project", *inner]))
    task = PastTask(
        name=wanted,
        source=path and plain_text(str(path)),
        space=project.space,
        objective=project.objective,
        direction=project.direction,
        description=None,
        trials=project.trials,
    )
    known = find_search(connection, task, copies=name is None)
    if known is not None:
        task = known
    elif name is None:
        task = dataclasses.replace(task, name=free_name(connection, wanted))
    task_id = save_task(connection, task)
    counts = merge_trials(connection, task_id, project.trials, project.positions)
    return ImportReport([task.name], *counts, skipped=list(project.skipped))
