"""Where an oracle's past searches come from, and where its own trials go."""

import dataclasses
import logging
import os
from pathlib import Path

from keras_meta.tuner.experience_pool import ExperiencePool
from keras_meta.tuner.pool_schema import PoolError
from keras_meta.tuner.project_import import past_trial

LOGGER = logging.getLogger("keras_meta.tuner")
POOL_OF_FOLDERS = "experience.sqlite"


class Experience:
    """Past searches, from a pool or from folders.

    Args:
        given: `ExperiencePool`, the path of its file, a folder of KerasTuner
            projects, a list of such folders, or None.
        learn: bool, whether trials are added to the pool.

    Attributes:
        seen: dict of task name to number of trials that the search knows of, or None:
            it has not begun. A search that is resumed knows the same ones.
    """

    def __init__(self, given, learn):
        self.pool, self.folders, self.seen = None, [], None
        self._told = False
        if isinstance(given, ExperiencePool):
            self.pool = given
        elif isinstance(given, (str, os.PathLike)) and not Path(given).is_dir():
            if not Path(given).suffix and not Path(given).exists():
                raise ValueError(
                    "Argument `experience` must be a pool, the path of a pool's file "
                    "with a suffix such as .sqlite, or a folder of searches that "
                    f"exists. Received: experience={str(given)!r}."
                )
            self.pool = ExperiencePool(given)
        elif given is not None:
            folders = [given] if isinstance(given, (str, os.PathLike)) else given
            self.folders = _checked_folders(folders)
        self.learn = bool(learn) and self.pool is not None

    @property
    def cache(self):
        """What keeps a pretrained prior, or None."""
        return None if self.pool is None else _Cache(self)

    def past_tasks(self, own_name, project_folder, resumed):
        """Returns the past tasks, without what the search itself has added.

        Earlier searches in the same folder, or of the same task name, are past ones.

        Args:
            own_name: str, the search's own task.
            project_folder: str, where folders are imported to.
            resumed: bool, whether the search has trials already: then what the pool
                has of its folder or name may be its own.

        Raises:
            PoolError, OSError: if the pool cannot be read.
        """
        if self.folders and self.pool is None:
            pool = ExperiencePool(Path(project_folder) / POOL_OF_FOLDERS)
            for folder in self.folders:
                _import(pool, folder)
            self.pool = pool
        if self.pool is None:
            return []
        tasks = self.pool.tasks()
        if not tasks and self.seen is None:
            LOGGER.warning(
                "There is no past search yet in %s. This one goes on without.",
                self.pool.path,
            )
        if self.seen is None:
            own_source = str(Path(project_folder).resolve())
            self.seen = {
                task.name: len(task.trials)
                for task in tasks
                if not resumed or (task.name != own_name and task.source != own_source)
            }
        return [
            _first(task, self.seen[task.name])
            for task in tasks
            if task.name in self.seen
        ]

    def learn_trials(self, oracle, trials, seconds=None):
        """Adds finished trials to the pool, each once; says once if that fails.

        Args:
            oracle: `MetaOracle`.
            trials: list of KerasTuner's trials.
            seconds: float, how long each of them took, or None.
        """
        if not self.learn or not trials:
            return
        try:
            records = [
                dataclasses.replace(past_trial(trial.get_state()), seconds=seconds)
                for trial in trials
            ]
            self.pool.add(
                oracle.own_task_name(),
                oracle.hyperparameters.get_config()["space"],
                records,
                objective=oracle.objective.name,
                direction=oracle.objective.direction,
                description=oracle.task_description,
                source=str(Path(oracle._project_dir).resolve()),
            )
        except (PoolError, OSError, ValueError) as error:
            # ValueError: the pool's task of this name has another objective.
            self.tell(error)

    def tell(self, error):
        """Says once that nothing is learned, and why."""
        self.learn = False
        if not self._told:
            LOGGER.warning(
                "Nothing more of this search goes to the pool %s: %s. The search goes "
                "on.",
                self.pool.path,
                str(error).rstrip("."),
            )
        self._told = True


class _Cache:
    """A pool's computed things; what cannot be kept is computed again next time."""

    def __init__(self, experience):
        self._experience = experience

    def cached(self, key):
        return self._experience.pool.cached(key)

    def keep(self, key, blob):
        try:
            self._experience.pool.keep(key, blob)
        except (PoolError, OSError) as error:
            self._experience.tell(error)


def _import(pool, folder):
    """Imports a folder's projects; what cannot be read is logged and left out."""
    try:
        skipped = pool.import_project(folder).skipped
    except (PoolError, OSError, ValueError) as error:
        skipped = [(folder, error)]
    for path, reason in skipped:
        LOGGER.warning("Left out of the past searches: %s: %s", path, reason)


def _first(task, count):
    return dataclasses.replace(task, trials=task.trials[:count])


def _checked_folders(folders):
    if not isinstance(folders, (list, tuple)) or not folders:
        raise ValueError(
            "Argument `experience` must be an ExperiencePool, the path of its file, a "
            "folder of KerasTuner projects, a list of such folders, or None. "
            f"Received: experience={folders!r}."
        )
    for folder in folders:
        if not isinstance(folder, (str, os.PathLike)) or not Path(folder).is_dir():
            raise ValueError(
                "Argument `experience` must name folders that exist. Received: "
                f"{str(folder)!r}."
            )
    return list(folders)
