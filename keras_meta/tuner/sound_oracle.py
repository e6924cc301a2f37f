"""A KerasTuner oracle that is restarted and resumed without losing or doubling."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as trial_module

ENDED = (trial_module.TrialStatus.COMPLETED, trial_module.TrialStatus.FAILED)


class SoundOracle(keras_tuner.Oracle):
    """What every oracle is, but for what KerasTuner 1.4 leaves to chance.

    The seed 0 is a seed. Files are replaced as a whole, and the tuner's own file, which
    KerasTuner writes in place, is made up for where a kill left it empty or before it
    was there. A search that is loaded again does not run its last trial again. A trial
    that is run again reports anew. A chief that is started again leaves its workers the
    trials that they run, and counts each once. A name that stands in two conditional
    scopes keeps the value that it was given. An infinity is never the best score.

    Args:
        seed: int >= 0 or None.
        **kwargs: see `keras_tuner.Oracle`.
    """

    def __init__(self, *args: Any, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, seed=seed, **kwargs)
        if seed is not None:
            self.seed = self._seed_state = seed
        self._given_out = {}  # worker to trial, as the loaded state had them

    def _set_project_dir(self, directory, project_name):
        """As every oracle's; the tuner calls it before it looks for its own file."""
        super()._set_project_dir(directory, project_name)
        _mend_tuner_file(os.path.join(str(directory), project_name))

    def save(self) -> None:
        """As every oracle's, but the old file or the new one is there, never half."""
        _save_whole(super(keras_tuner.Oracle, self).save, self._get_oracle_fname())

    def _save_trial(self, trial):
        folder = self._get_trial_dir(trial.trial_id)
        _save_whole(trial.save, os.path.join(folder, "trial.json"))

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> keras_tuner.engine.trial.Trial:
        """As every oracle's; a trial that is run again begins anew."""
        begun = set(self.start_order)
        trial = super().create_trial(tuner_id)
        if trial.trial_id in begun:
            trial.metrics = type(trial.metrics)()
            trial.status = trial_module.TrialStatus.RUNNING
            self._save_trial(trial)
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """As every oracle's; a trial that was ended before stays as it is."""
        if trial.trial_id in self.end_order:
            self.ongoing_trials = {
                worker: other
                for worker, other in self.ongoing_trials.items()
                if other.trial_id != trial.trial_id
            }
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)

    def score_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """As every oracle's; an infinity that would be the best score is the worst.

        A failed trial, as one of NaN is, would end the search where it is the third.
        """
        super().score_trial(trial)
        best = -math.inf if self.objective.direction == "min" else math.inf
        if trial.score == best:
            trial.score = -best

    def reload(self) -> None:
        """As every oracle's; nothing finished is run again, nothing counted twice.

        A process that was killed between writing a trial and writing the oracle's own
        file leaves a trial that the oracle does not know: begun, then it is forgotten;
        or finished but listed as running, then it is finished.

        A chief's workers go on meanwhile: each still has the trial that it runs. One
        that was killed, too, gets it when it is started again.
        """
        super().reload()
        known = set(self.start_order)
        self.trials = {i: t for i, t in self.trials.items() if i in known}
        for trial_id in list(self._retry_queue):
            if self.trials[trial_id].status in ENDED:
                self._retry_queue.remove(trial_id)
                if trial_id not in self.end_order:
                    self.end_order.append(trial_id)
        if _is_chief():
            for tuner_id, trial_id in self._given_out.items():
                if trial_id in self._retry_queue:
                    self._retry_queue.remove(trial_id)
                    self.ongoing_trials[tuner_id] = self.trials[trial_id]
                    self.tuner_ids.add(tuner_id)

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._given_out = state["ongoing_trials"]

    def _record_values(self, trial):
        """As every oracle's, but keeps the values of names that stand in two scopes.

        KerasTuner takes the value away where one of the two scopes does not apply, and
        then draws another one for the scope that does.
        """
        given = dict(trial.hyperparameters.values)
        trial.hyperparameters.ensure_active_values()
        for one in trial.hyperparameters.space:
            if trial.hyperparameters.is_active(one) and one.name in given:
                trial.hyperparameters.values[one.name] = given[one.name]
        tried = self._compute_values_hash(trial.hyperparameters.values)
        before = self._id_to_hash[trial.trial_id]
        if before != tried:
            self._tried_so_far.discard(before)
        self._tried_so_far.add(tried)
        self._id_to_hash[trial.trial_id] = tried


def _is_chief():
    """Tells whether this process serves other workers, as KerasTuner tells it."""
    return "KERASTUNER_ORACLE_IP" in os.environ and "chief" in os.environ.get(
        "KERASTUNER_TUNER_ID", ""
    )


def _mend_tuner_file(folder):
    """Writes the state of a tuner whose process was killed before it wrote it.

    The state of KerasTuner's own tuners is `{}`. Without the file a search is begun
    anew, over its finished trials; with an empty one it cannot be gone on with.
    """
    if "://" in folder or not os.path.exists(os.path.join(folder, "oracle.json")):
        return
    tuner = os.environ.get("KERASTUNER_TUNER_ID", "tuner0")
    path = Path(folder, f"{tuner}.json")
    # A worker that is new to a chief's search has nothing to load.
    missing = not path.exists() and "KERASTUNER_ORACLE_IP" not in os.environ
    # Where nothing may be written, the search will say so.
    if (missing or _is_empty(path)) and os.access(folder, os.W_OK):
        _save_whole(lambda draft: Path(draft).write_text("{}"), path)


def _is_empty(path):
    return path.is_file() and not path.stat().st_size


def _save_whole(save, path):
    """Lets `save(path)` write another file, and puts that in the place of `path`."""
    if "://" in str(path):  # A bucket replaces objects as a whole by itself.
        save(path)
        return
    draft = Path(f"{path}.{os.getpid()}.draft")
    try:
        save(str(draft))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
