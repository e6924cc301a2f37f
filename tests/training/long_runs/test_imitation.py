"""Imitation of a teacher, with expected numbers by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_meta import SGD, MetaSGD
from keras_meta.optimizers import Adam
from keras_meta.training.long_runs.imitation import Imitation
from keras_meta.training.long_runs.meta_objective import mean
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.runs import Runs
from keras_meta.training.long_runs.window import Window

from .problems import CURVATURE, START, LearnedRate, OneBowl


def result(pair, teacher, num_steps):
    rule, theta = Imitation(teacher), {"pair": tf.constant(pair)}
    unroll = RuleUnroll(OneBowl(), LearnedRate(), False)
    seeds = tf.zeros((1, 2), "int64")
    data, parameters = unroll.sampled(seeds)
    runs = Runs(
        parameters, unroll.started(theta, parameters), tf.zeros(1, "int32"), seeds
    )
    carried = [tf.zeros((1, *s.shape)) for s in rule.carried(theta, unroll)]
    window = Window(unroll, mean, theta, data, runs, num_steps, carried, seeds)
    return rule.meta_gradient(window)


def test_the_runs_are_the_teachers():
    found = result([0.1, 0.5], Adam(0.1), 5)
    w = START.copy()
    m = v = np.zeros(2)
    losses = []
    for t in range(1, 6):
        g = CURVATURE * w
        losses.append(0.5 * np.sum(CURVATURE * w**2))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    np.testing.assert_allclose(found.runs.parameters[0][0], w, rtol=1e-4)
    np.testing.assert_allclose(found.losses[:, 0], losses, rtol=1e-4)


def test_the_error_is_the_squared_difference_over_the_teachers_squared_step():
    # Descent at rate 0.3 imitates descent at rate 0.2: (0.3 - 0.2)^2 / 0.2^2.
    found = result([0.3, 0.0], SGD(0.2), 3)
    np.testing.assert_allclose(found.values, [0.25], rtol=1e-5)
    # d/dr of (r - 0.2)^2 / 0.04 at 0.3 is 0.2 / 0.04.
    np.testing.assert_allclose(found.gradients["pair"][0, 0], 5.0, rtol=1e-4)


def test_the_gradient_goes_through_the_rules_own_state():
    # Momentum works from the second step on.
    ends = []
    for sign in (1.0, -1.0):
        ends.append(result([0.1, 0.5 + sign * 1e-2], Adam(0.1), 4).values.numpy()[0])
    gradient = result([0.1, 0.5], Adam(0.1), 4).gradients["pair"][0, 1]
    np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / 2e-2, rtol=1e-3)


def test_doing_nothing_has_error_one():
    np.testing.assert_allclose(result([0.0, 0.0], Adam(0.1), 4).values, [1.0])


def test_teachers_that_cannot_teach():
    unroll = RuleUnroll(OneBowl(), LearnedRate(), False)
    with pytest.raises(ValueError, match=r"without theta.*Received: MetaSGD"):
        Imitation(MetaSGD()).carried({}, unroll)

    class Warm(SGD):
        def initial_state(self, theta, parameters):
            return {"velocity": [p * 0.0 + 1.0 for p in parameters]}

    with pytest.raises(ValueError, match=r"starts with zeros. Received: Warm"):
        Imitation(Warm()).carried({}, unroll)
