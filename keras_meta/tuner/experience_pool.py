"""Keeps past searches in one file, for new searches to start from."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from keras_meta.tuner.pool_computed import read_computed, save_computed
from keras_meta.tuner.pool_import import import_folder
from keras_meta.tuner.pool_reading import (
    count_tasks,
    count_trials,
    read_tasks,
    write_lines,
)
from keras_meta.tuner.pool_records import ImportReport, PastTask
from keras_meta.tuner.pool_rows import merge_trials, save_task, stored_direction
from keras_meta.tuner.pool_schema import PoolError, prepare_pool, reading, writing
from keras_meta.tuner.project_objective import split_objective, told_direction
from keras_meta.tuner.record_checks import (
    check_name,
    checked_description,
    checked_trial,
    plain_text,
)
from keras_meta.tuner.space_config import plain_space

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import keras_tuner
    from typing_extensions import Self

    from keras_meta.tuner.pool_records import PastTrial
    from keras_meta.tuner.search_types import HyperModel


class ExperiencePool:
    """Keeps the tasks and trials of past searches in one SQLite file.

    Any number of processes and threads may read one pool, and several may write:
    they wait for each other. The trials of an `add()`, or of an imported project,
    are there as a whole or not at all, also if the process is killed or the disk is
    full. Pools can be pickled, and used on after a fork. The file must lie on a disk
    of the machine: SQLite's locks do not reach over a network drive.

    Args:
        path: str or `os.PathLike`, the file, in a folder that exists. Made if it is
            missing.
        read_only: bool, never write: the file must be there. Default: `False`; a
            file that the system does not let us write can be read all the same.

    Raises:
        PoolError: if the file is missing (`read_only=True`), is no pool, is damaged
            or of a newer keras_meta. It is never overwritten.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "experience.sqlite")
    >>> units = {"name": "units", "min_value": 1, "max_value": 64, "step": None}
    >>> space = [{"class_name": "Int", "config": units}]
    >>> trials = [{"values": {"units": 8}, "score": 0.7}]
    >>> with ExperiencePool(path) as pool:
    ...     pool.add("digits", space, trials, objective="val_accuracy").added
    ...     pool.add("digits", space, trials, objective="val_accuracy").added
    ...     pool.tasks()[0].trials[0].score
    1
    0
    0.7
    """

    def __init__(self, path: str | os.PathLike, read_only: bool = False) -> None:
        if not isinstance(path, (str, os.PathLike)) or str(path) in ("", ":memory:"):
            raise ValueError(
                "Argument `path` must name a file: a pool is shared by processes. "
                f"Received: path={path!r}."
            )
        self.path = Path(os.fspath(path)).absolute()
        self.read_only = bool(read_only)
        self._closed = False
        prepare_pool(self.path, self.read_only)

    def import_project(
        self,
        directory: str | os.PathLike,
        name: str | None = None,
        objective: str | keras_tuner.Objective | None = None,
        direction: str | None = None,
    ) -> ImportReport:
        """Reads KerasTuner's project folders, again and again without doubling.

        A project is known again by its folder, or by its trials if the folder was
        moved or copied. Trials that have gone on since are updated. A folder whose
        search was started anew becomes another task.

        Args:
            directory: str or `os.PathLike`, the folder with `oracle.json` and
                `trial_*/trial.json`, or one that has such folders in it, up to
                eight levels down. Links below it are not followed.
            name: str, the task's name; with several projects, the first part of
                their names. Default: the folder's name, with a number behind it if
                the pool has another task of this name.
            objective: str or `keras_tuner.Objective`. Default: what the trials'
                scores show. Where a search had another objective, its trials are
                scored by this metric.
            direction: `"min"` or `"max"`, for an objective that is a str. Default:
                what the files say, or the metric's name.

        Returns:
            `ImportReport`; its `skipped` names files that are damaged.

        Raises:
            ValueError: if there is no project, none whose objective can be told, or
                a task called `name` has another objective.
            PoolError: if the pool cannot be written.
        """
        if name is not None:
            check_name(name)
        split_objective(objective, direction)
        self._check(writes=True)
        return import_folder(self.path, directory, name, objective, direction)

    def add(
        self,
        name: str,
        space: keras_tuner.HyperParameters | list[dict[str, Any]],
        trials: Iterable[PastTrial | Mapping[str, Any]],
        objective: str | keras_tuner.Objective,
        direction: str | None = None,
        description: Mapping[str, float] | None = None,
        source: str | None = None,
    ) -> ImportReport:
        """Adds trials of a search to the task of a name, without doubling any.

        A task that is not there is made. With no trials, its other facts are kept.

        Args:
            name: str, the task's name.
            space: `keras_tuner.HyperParameters`, or the list of its config's
                `"space"`. Parameters that the task does not have are added to it.
            trials: list of `PastTrial` or of dicts with `values`, `score` and any
                other attribute of a `PastTrial`. A trial with an id that the task
                has takes the place of that one if it has gone on.
            objective: str or `keras_tuner.Objective`, what the scores are.
            direction: `"min"` or `"max"`. Default: the objective's; for a str, that
                of the task or what the metric's name tells.
            description: dict of feature name to finite number, the data set's.
                Default: what the task has.
            source: str, where the trials come from. Default: what the task has.

        Returns:
            `ImportReport`.

        Raises:
            ValueError: if an argument is not as described, or the task has another
                objective.
            PoolError: if the pool cannot be written.
        """
        check_name(name)
        objective, direction = split_objective(objective, direction)
        if objective is None:
            raise ValueError("Argument `objective` must be a metric's name.")
        task = PastTask(
            name=plain_text(name),
            source=None if source is None else plain_text(str(source)),
            space=plain_space(space),
            objective=plain_text(objective),
            direction=direction,
            description=checked_description(description),
            trials=[checked_trial(trial) for trial in trials],
        )
        self._check(writes=True)
        with writing(self.path) as connection:
            if direction is None:
                known = stored_direction(connection, task.name, task.objective)
                task = dataclasses.replace(
                    task, direction=known or told_direction(objective)
                )
            task_id = save_task(connection, task)
            counts = merge_trials(connection, task_id, task.trials)
        return ImportReport([task.name], *counts)

    def collect(
        self,
        hypermodel: HyperModel,
        tasks: Mapping[str, Mapping[str, Any]],
        trials: int,
        objective: str | keras_tuner.Objective,
        directory: str | os.PathLike | None = None,
        seed: int | None = None,
        **search_arguments: Any,
    ) -> ImportReport:
        """Runs one random search for each task, and keeps their trials.

        If a search fails or is interrupted, the trials that ended are kept.

        Args:
            hypermodel: `keras_tuner.HyperModel` or function of
                `keras_tuner.HyperParameters` that returns a compiled model.
            tasks: dict of task name to dict of arguments of `Tuner.search()`, such
                as `{"digits": {"x": x, "y": y, "validation_data": (u, v)}}`.
            trials: int >= 1, trials for each task.
            objective: str or `keras_tuner.Objective`.
            directory: str or `os.PathLike`, where KerasTuner keeps the projects: a
                search that is there goes on. Default: a folder that is removed.
            seed: int >= 0. Default: another one each time.
            **search_arguments: arguments of `Tuner.search()` for all tasks, such as
                `epochs=3, verbose=0`.

        Returns:
            `ImportReport` over all tasks.

        Raises:
            ValueError: if an argument is not as described.
            ModuleNotFoundError: if KerasTuner is not installed.
        """
        self._check(writes=True)
        # Lazily: only this needs KerasTuner, and with it Keras' backend.
        from keras_meta.tuner.collection import collect_trials

        return collect_trials(
            self.path,
            hypermodel,
            tasks,
            trials,
            objective,
            directory=directory,
            seed=seed,
            search_arguments=search_arguments,
        )

    def tasks(
        self, objective: str | keras_tuner.Objective | None = None
    ) -> list[PastTask]:
        """Returns the pool's tasks with all their trials.

        Args:
            objective: str or `keras_tuner.Objective`, only the tasks with it.
                Default: all.

        Returns:
            list of `PastTask`, in the order in which they came into the pool.
        """
        self._check()
        with reading(self.path) as connection:
            return list(read_tasks(connection, *split_objective(objective)))

    @property
    def num_trials(self) -> int:
        """int, the number of trials of all tasks."""
        return self._count(count_trials)

    def export(self, file: str | os.PathLike | TextIO) -> int:
        """Writes the trials as JSON lines: one trial a line, with its task's facts.

        Args:
            file: str or `os.PathLike`, a file that is made or overwritten; or an
                open text file.

        Returns:
            int, the number of lines.

        Raises:
            ValueError: if `file` is the pool itself.
        """
        self._check()
        if isinstance(file, (str, os.PathLike)):
            if os.path.exists(file) and os.path.samefile(file, self.path):
                raise ValueError(
                    "Argument `file` must not be the pool's own file. "
                    f"Received: file={str(file)!r}."
                )
            with open(file, "w", encoding="utf-8") as opened:
                return self.export(opened)
        with reading(self.path) as connection:
            return write_lines(connection, file)

    def cached(self, key: str) -> bytes | None:
        """Returns what `keep()` stored under a key.

        Args:
            key: str.

        Returns:
            bytes, or None if nothing is stored, or no longer.
        """
        self._check()
        with reading(self.path) as connection:
            return read_computed(connection, key)

    def keep(self, key: str, value: bytes) -> None:
        """Stores something that was computed from the pool: the last eight stay.

        Args:
            key: str; what was stored under it is replaced.
            value: bytes, any number.

        Raises:
            PoolError: if the pool cannot be written.
        """
        if not isinstance(key, str) or not isinstance(value, bytes):
            raise ValueError(
                "Argument `key` must be a str and `value` must be bytes. "
                f"Received: key={key!r}, value of type {type(value).__name__}."
            )
        self._check(writes=True)
        with writing(self.path) as connection:
            save_computed(connection, key, value)

    def close(self) -> None:
        """Ends the use of this object; the file and other users' pools stay."""
        self._closed = True

    def __len__(self) -> int:
        return self._count(count_tasks)

    def __bool__(self) -> bool:
        return True  # A pool without tasks is a pool.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ExperiencePool({str(self.path)!r}, read_only={self.read_only})"

    def _count(self, count):
        self._check()
        with reading(self.path) as connection:
            return count(connection)

    def _check(self, writes=False):
        if self._closed:
            raise PoolError(
                f"The experience pool {str(self.path)!r} was closed. Make another "
                "ExperiencePool of its path."
            )
        if writes and self.read_only:
            raise PoolError(
                f"The experience pool {str(self.path)!r} was opened with "
                "read_only=True: nothing can be written to it. Open it without."
            )
