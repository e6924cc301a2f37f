"""A KerasTuner oracle that begins a search with what earlier searches have shown."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

import keras_tuner
import numpy as np
import threadpoolctl
from keras_tuner.engine import trial as trial_module

from keras_meta.tuner import search_curves, trust_plot
from keras_meta.tuner.experience import Experience
from keras_meta.tuner.fidelity import EarlyStopping, curves_of
from keras_meta.tuner.pool_schema import PoolError
from keras_meta.tuner.record_checks import (
    checked_description,
    checked_int,
    checked_rename,
)
from keras_meta.tuner.search_space import SearchSpace
from keras_meta.tuner.sound_oracle import SoundOracle
from keras_meta.tuner.suggestions import (
    Suggestions,
    comparable_tasks,
    description_distances,
)
from keras_meta.tuner.unused_past import tell_unused

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from keras_meta.tuner.search_types import Experiences, Objectives

STATUS = trial_module.TrialStatus
MULTI_OBJECTIVE = "multi_objective"  # KerasTuner's name of a list of objectives
LOGGER = logging.getLogger("keras_meta.tuner")


class MetaOracle(SoundOracle):
    """Bayesian optimization with a prior that is meta-learned from past searches.

    It goes wherever KerasTuner takes an oracle, `keras_tuner.Tuner(oracle=...)`, and
    suggests the next trial by three priors, weighed by how well each explains the
    scores so far: a Gaussian process pretrained on the past searches, mixtures of
    their surfaces, and one that knows no past (see `Surrogate`). With no comparable
    past it is an ordinary Bayesian optimizer.

    The same seed, past and scores give the same search, also if it was interrupted and
    resumed. Floats, ints, steps, all samplings, choices, booleans and conditional
    scopes are supported; a past search may lack hyperparameters, or have other ranges.
    Trials that failed, or whose score is not finite, count as the worst known.

    Args:
        objective: str or `keras_tuner.Objective` (or a list), as in every oracle.
        max_trials: int >= 1. Default 10.
        experience: what past searches there are: an `ExperiencePool`; the path of its
            file, made if missing; a folder of KerasTuner projects, or a list of such
            folders; or None.
        task_description: dict of the data set's features, see `describe_dataset`, or
            None. Past tasks with a description that is near then count more, as far as
            that has helped among them.
        task_name: str, what this search is called in the pool. Default: the project's
            name and a number of its own.
        rename: dict from a hyperparameter's name in past searches to its name here.
        fidelity: `"epochs"`: poor trials are stopped early, by what learning curves of
            past trials and of this search say, see `EarlyStopping`. The tuner must
            report each epoch, as `MetaTuner` does. Default None: all trials run to
            their end.
        learn: bool, whether finished trials are added to the pool, if `experience` is
            one or its path. Default True.
        seed: int >= 0 or None, 0 included. Default: drawn.
        hyperparameters: as in every oracle.
        tune_new_entries: as in every oracle.
        allow_new_entries: as in every oracle.
        max_retries_per_trial: as in every oracle.
        max_consecutive_failed_trials: as in every oracle.

    Attributes:
        used_tasks: list of str, the past tasks that are used; empty before the first
            suggestion.
        stopped: list of str, ids of the trials that were stopped early.
        trust: list of dicts, one for each trial that the priors suggested:
            `trial_id`; `priors`, the weight of each; `tasks`, the weight of each past
            task in the mixture. `save_trust_plot(path)` draws it.

    Raises:
        ValueError: for arguments that cannot work.
        PoolError: if the pool's file is damaged, or of a newer keras_meta.

    Example:

    ```python
    oracle = keras_meta.tuner.MetaOracle(
        "val_accuracy", max_trials=20, experience="searches.sqlite", seed=0
    )
    tuner = keras_tuner.Tuner(oracle=oracle, hypermodel=build_model)
    tuner.search(x, y, validation_split=0.2, epochs=5)
    ```
    """

    def __init__(
        self,
        objective: Objectives = None,
        max_trials: int = 10,
        experience: Experiences = None,
        task_description: Mapping[str, float] | None = None,
        task_name: str | None = None,
        rename: Mapping[str, str] | None = None,
        fidelity: str | None = None,
        learn: bool = True,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
    ) -> None:
        max_trials = checked_int("max_trials", max_trials, 1)
        seed = checked_int("seed", seed, 0)
        if task_name is not None and (not isinstance(task_name, str) or not task_name):
            raise ValueError(
                "Argument `task_name` must be a str that is not empty, or None. "
                f"Received: task_name={task_name!r}."
            )
        if fidelity not in (None, "epochs"):
            raise ValueError(
                'Argument `fidelity` must be None or "epochs". '
                f"Received: fidelity={fidelity!r}."
            )
        super().__init__(
            objective=objective,
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            seed=seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        if fidelity and self.objective.name == MULTI_OBJECTIVE:
            raise ValueError(
                "Argument `fidelity` needs one objective, whose value each epoch has. "
                f"Received: objective={objective!r}."
            )
        self.experience = Experience(experience, learn)
        self.rename = checked_rename(rename)
        self.task_description = checked_description(task_description)
        self.task_name = task_name
        self.fidelity = fidelity
        self.trust = []
        self.used_tasks = []
        self.stopped = []
        self._began = {}  # trial to the time at which it last began
        self._early_stopping = None
        self._suggestions = None  # and for which space it was made
        self._prepared_for = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next trial's values; KerasTuner calls it. Never raises.

        Where the priors fail, the values are random, and the fault is logged: what
        raised here would leave KerasTuner's lock held, and all workers waiting.
        """
        try:
            # Its matrices are small: threads would only wait for each other, and for
            # those that train a model meanwhile.
            with threadpoolctl.threadpool_limits(1, "blas"):
                values = self._suggested(trial_id)
        except Exception:
            LOGGER.exception(
                "MetaOracle could not use its priors for trial %s; its values are "
                "random. Please report this.",
                trial_id,
            )
            values = self._random_values()
        if values is None:
            return {"status": STATUS.STOPPED, "values": None}
        return {"status": STATUS.RUNNING, "values": values}

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> keras_tuner.engine.trial.Trial:
        """As every oracle's; notes when, so that the pool knows how long it took."""
        trial = super().create_trial(tuner_id)
        self._began[trial.trial_id] = time.monotonic()
        if trial.trial_id in self.stopped:  # and is run again
            self.stopped.remove(trial.trial_id)
        return trial

    @keras_tuner.synchronized
    def update_trial(
        self, trial_id: str, metrics: dict[str, float], step: int = 0
    ) -> keras_tuner.engine.trial.Trial:
        """As every oracle's; the trial's status is STOPPED if it should not go on."""
        trial = super().update_trial(trial_id, metrics, step)
        if self.fidelity and self._can_stop():
            trials = list(self.trials.values())
            rule = self._early_stopping
            if search_curves.stops(rule, trial, trials, self.stopped, self.objective):
                if trial_id not in self.stopped:
                    self.stopped.append(trial_id)
                trial.status = STATUS.STOPPED
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """As every oracle's; a finished trial then goes to the pool."""
        super().end_trial(trial)
        if trial.trial_id in self.end_order:
            begin = self._began.get(trial.trial_id)
            self.experience.learn_trials(
                self,
                [self.trials[trial.trial_id]],
                None if begin is None else time.monotonic() - begin,
            )

    def reload(self) -> None:
        """As every oracle's; what ended just before a kill then goes to the pool."""
        super().reload()
        ended = [self.trials[trial_id] for trial_id in self.end_order]
        self.experience.learn_trials(self, ended)

    def save_trust_plot(self, path: str | os.PathLike) -> None:
        """Draws `trust`: the weights of priors and of past tasks, trial by trial.

        Args:
            path: where the PNG goes.

        Raises:
            ModuleNotFoundError: without matplotlib.
            ValueError: if the priors have suggested no trial yet.
        """
        trust_plot.draw(self.trust, path)

    def get_state(self) -> dict[str, Any]:
        state = super().get_state()
        state["keras_meta"] = {
            "task_name": self.task_name,
            "trust": self.trust,
            "stopped": self.stopped,
            "experience": self.experience.seen,
        }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        own = state.get("keras_meta", {})
        self.task_name = own.get("task_name", self.task_name)
        self.trust = own.get("trust", [])
        self.stopped = own.get("stopped", [])
        self.experience.seen = own.get("experience")
        self._suggestions = self._prepared_for = None

    def own_task_name(self) -> str:
        """Returns what this search is called in the pool."""
        if self.task_name is None:
            self.task_name = f"{self._project_name} {uuid.uuid4().hex[:12]}"
        return self.task_name

    # ---- private ----------------------------------------------------------------

    def _suggested(self, trial_id):
        self._prepare()
        space = self._suggestions.space
        points, scores, pending = [], [], []
        for known in self.start_order:
            trial = self.trials[known]
            point = space.point(trial.hyperparameters.values)
            if point is None:
                continue
            if trial.status in (STATUS.RUNNING, STATUS.STOPPED):
                pending.append(point)
                continue
            points.append(point)
            rule, trials = self._early_stopping, list(self.trials.values())
            scores.append(
                search_curves.known_score(
                    rule, trial, trials, self.stopped, self.objective
                )
            )
        point = self._suggestions.next_point(
            np.array(points).reshape(len(points), space.width),
            np.array(scores, float),
            np.array(pending).reshape(len(pending), space.width),
            len(self.start_order),
        )
        if point is None:
            return None
        self._note_trust(trial_id)
        values = space.values(point)
        return self._random_values() if self._duplicate(values) else values

    def _can_stop(self):
        """Returns whether learning curves can be judged; never raises."""
        try:
            self._prepare()
        except Exception:
            LOGGER.exception("MetaOracle could not read learning curves.")
        return self._early_stopping is not None

    def _prepare(self):
        """Reads the past and learns the priors, once for each state of the space."""
        entries = self.hyperparameters.get_config()["space"]
        if self._suggestions is not None and entries == self._prepared_for:
            return
        space = SearchSpace(entries)
        name, resumed = self.own_task_name(), bool(self.start_order)
        try:
            past = self.experience.past_tasks(name, self._project_dir, resumed)
        except (PoolError, OSError, ValueError) as error:
            past = []
            LOGGER.warning("The search goes on without past ones: %s", error)
        tasks, used, reasons = comparable_tasks(
            past, space, self.objective.name, self.objective.direction, self.rename
        )
        self.used_tasks = [task.name for task in used]
        if space.names:  # else the tuner has not declared any yet
            tell_unused(past, tasks, reasons, self.objective, space.names, self.rename)
        if self.fidelity:
            self._early_stopping = EarlyStopping(
                [
                    curves_of(task, search_curves.sign_of(self.objective))
                    for task in used
                ]
            )
        distances = description_distances(
            [task.description for task in used], self.task_description
        )
        self._suggestions = Suggestions(
            space, tasks, self.experience.cache, distances, seed=self.seed
        )
        self._prepared_for = entries

    def _note_trust(self, trial_id):
        weights = self._suggestions.weights
        if weights is None:
            return
        priors = {name: float(weight) for name, weight in weights.items()}
        chosen, of_tasks = self._suggestions.chosen, self._suggestions.task_weights()
        pairs = zip(chosen, of_tasks, strict=True)
        tasks = {self.used_tasks[index]: float(weight) for index, weight in pairs}
        self.trust.append({"trial_id": trial_id, "priors": priors, "tasks": tasks})
