"""check_oracle passes on sound oracles, and catches planted faults."""

import functools
import random

import keras_tuner
import numpy as np
import pytest

from keras_meta.testing import check_oracle
from keras_meta.tuner import ExperiencePool, MetaOracle
from keras_meta.tuner.search_space import SearchSpace


def test_meta_oracle_passes():
    assert len(check_oracle(MetaOracle)) == 8


def test_meta_oracle_with_a_past_passes(tmp_path):
    from keras_meta.testing.oracle_checks import score_of, space

    pool = ExperiencePool(tmp_path / "pool.sqlite")
    points = SearchSpace(space().get_config()["space"])
    for index in range(3):
        drawn = points.sample(np.random.default_rng(index), 12)
        values = [points.values(point) for point in drawn]
        trials = [{"values": v, "score": score_of(v) + index} for v in values]
        pool.add(f"task {index}", space(), trials, "val_score", "max")
    check_oracle(functools.partial(MetaOracle, experience=pool, learn=False))


class Resumes(keras_tuner.oracles.RandomSearchOracle):
    """KerasTuner's random search, with its seed 0."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if seed is not None:
            self.seed = self._seed_state = seed


class Sound(Resumes):
    """A sound oracle, into which faults are planted."""

    def reload(self):
        super().reload()
        # KerasTuner saves before it notes that the last trial has ended.
        ended = set(self.end_order)
        self._retry_queue = [i for i in self._retry_queue if i not in ended]


def test_random_search_passes():
    check_oracle(Sound)


class Zero(keras_tuner.oracles.RandomSearchOracle):
    """Takes seed 0 for none."""


class Forgets(Sound):
    def set_state(self, state):
        super().set_state(state)
        self._seed_state += 1000


class Unplanned(Sound):
    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["values"]:
            response["values"]["rate"] = random.uniform(0.001, 0.01)
        return response


class Numpy(Sound):
    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["values"] and "rate" in response["values"]:
            response["values"]["rate"] = np.float64(response["values"]["rate"])
        return response


class Outside(Sound):
    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["values"] and "units" in response["values"]:
            response["values"]["units"] = 300
        return response


class Repeats(Sound):
    def populate_space(self, trial_id):
        if self.trials:
            first = self.trials[self.start_order[0]]
            return {"status": "RUNNING", "values": dict(first.hyperparameters.values)}
        return super().populate_space(trial_id)


class Raises(Sound):
    def populate_space(self, trial_id):
        scores = [t.score for t in self.trials.values() if t.status == "COMPLETED"]
        assert np.isfinite(scores).all()
        return super().populate_space(trial_id)


class TooLate(Sound):
    """Takes a hyperparameter that came late for one of another range."""

    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["values"] and "late" in response["values"]:
            response["values"]["late"] = 7.0
        return response


class Alike(Sound):
    """Does not look at the trials that run."""

    def populate_space(self, trial_id):
        for trial in self.ongoing_trials.values():
            return {"status": "RUNNING", "values": dict(trial.hyperparameters.values)}
        return super().populate_space(trial_id)


class Backwards(Sound):
    """Maximises, whatever the direction."""

    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        ended = [t for t in self.trials.values() if t.status == "COMPLETED"]
        if response["values"] and len(ended) >= 12:
            best = max(ended, key=lambda t: t.score).hyperparameters.values
            response["values"] = {**best, "tail": response["values"]["tail"]}
        return response


class Endless(Sound):
    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response["status"] == "STOPPED":
            first = self.trials[self.start_order[0]]
            return {"status": "RUNNING", "values": dict(first.hyperparameters.values)}
        return response


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        (Zero, "the same seed must give the same search: with seed=0"),
        (Resumes, "must go on as if it had not stopped"),
        (Forgets, "must go on as if it had not stopped"),
        (Unplanned, "the same seed"),
        (Numpy, "rate is a float64"),
        (Outside, "values must lie in the space: units=300"),
        (Repeats, "must not be tried twice"),
        (Raises, "must never raise"),
        (TooLate, "that appear during the search"),
        (Alike, "trials that run at the same time must differ"),
        (Backwards, "must not get worse as scores come in: direction min"),
        (Endless, "a space that has no more values must end"),
    ],
)
def test_planted_faults_are_found(oracle, message):
    with pytest.raises(AssertionError, match=message):
        check_oracle(oracle)


def test_what_is_no_oracle():
    with pytest.raises(AssertionError, match="must be a keras_tuner.Oracle"):
        check_oracle(lambda **kwargs: object())
