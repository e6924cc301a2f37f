"""The two maps over runs give the same; what cannot be unrolled is refused."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_meta import LSTMOptimizer, MetaLSTM
from keras_meta.tasks import Quadratic
from keras_meta.training import Truncated
from keras_meta.training.long_runs.meta_objective import mean
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.runs import Runs
from keras_meta.training.long_runs.window import Window

from .problems import LearnedRate, OneBowl

RULES = {
    "log_sign": LSTMOptimizer(hidden_size=3, seed=0),
    "normalized": LSTMOptimizer(hidden_size=3, inputs="normalized", seed=0),
    "meta_lstm": MetaLSTM(hidden_size=3, initial_rate=0.05, seed=0),
    "chunked": LSTMOptimizer(hidden_size=3, chunk_size=4, seed=0),
}


def result(unroll):
    rule = unroll.rule
    theta = {n: tf.constant(v) for n, v in rule.initial_theta({}, 0).items()}
    seeds = tf.constant([[0, 3], [0, 4], [0, 5]], "int64")

    @tf.function(autograph=False)
    def run():
        data, parameters = unroll.sampled(seeds)
        start = unroll.started(theta, parameters)
        runs = Runs(parameters, start, tf.zeros(3, "int32"), seeds)
        window = Window(unroll, mean, theta, data, runs, 2, [], seeds)
        return Truncated().meta_gradient(window)

    return run()


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("name", ["log_sign", "normalized", "meta_lstm"])
def test_runs_at_once_and_one_after_another_are_the_same(name, second_order):
    unroll = RuleUnroll(Quadratic(5, initial_scale=1.0), RULES[name], second_order)
    assert unroll.task_axis == "vectorize"
    at_once = result(unroll)
    unroll.task_axis = "sequential"
    after_another = result(unroll)
    np.testing.assert_allclose(at_once.losses, after_another.losses, rtol=1e-4)
    for key, value in at_once.gradients.items():
        other = after_another.gradients[key].numpy()
        assert np.abs(value - other).max() < 1e-3 * np.abs(other).max() + 1e-6, key


def test_a_chunked_row_goes_one_run_after_another_to_the_same_gradient():
    chunked = RuleUnroll(Quadratic(5, initial_scale=1.0), RULES["chunked"], False)
    whole = RuleUnroll(Quadratic(5, initial_scale=1.0), RULES["log_sign"], False)
    assert chunked.task_axis == "sequential"
    one, other = result(chunked), result(whole)
    for key, value in one.gradients.items():
        expected = other.gradients[key].numpy()
        assert np.abs(value - expected).max() < 1e-3 * np.abs(expected).max() + 1e-6


def test_rules_that_cannot_be_unrolled():
    class Started(LearnedRate):
        def initial_state(self, theta, parameters):
            return {"velocity": [theta["pair"][0] * p for p in parameters]}

    class Counting(LearnedRate):
        def initial_state(self, theta, parameters):
            state = super().initial_state(theta, parameters)
            return {**state, "count": ops.zeros((), "int32")}

    with pytest.raises(ValueError, match=r"depends on theta.*Started.*'velocity'"):
        RuleUnroll(OneBowl(), Started(), False)
    with pytest.raises(ValueError, match=r"must be float.*'count' of dtype int32"):
        RuleUnroll(OneBowl(), Counting(), False)
