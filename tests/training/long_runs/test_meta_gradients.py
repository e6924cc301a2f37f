"""Meta-gradients of long runs, beside finite differences of the whole meta-loss."""

import numpy as np
import pytest
import tensorflow as tf

from keras_meta import LSTMOptimizer
from keras_meta.tasks import Quadratic
from keras_meta.training import ES, PES, Truncated
from keras_meta.training.long_runs.meta_objective import META_OBJECTIVES, mean
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.runs import Runs
from keras_meta.training.long_runs.window import Window

from .problems import LearnedRate, OneBowl, losses_by_hand, true_gradient

THETA = {"pair": np.array([0.1, 0.5], "float32")}


def windows(rule, num_tasks, truncation, num_windows, second_order=True, theta=None):
    """Returns each window's gradient and losses of runs that go on with one theta."""
    unroll = RuleUnroll(OneBowl(), LearnedRate(), second_order)
    theta = {name: tf.constant(value) for name, value in (theta or THETA).items()}
    num_runs = num_tasks * rule.particles
    seeds = tf.stack(
        [tf.zeros(num_runs, "int64"), tf.range(num_runs, dtype="int64")], 1
    )
    data, parameters = unroll.sampled(seeds)
    runs = Runs(
        parameters,
        unroll.started(theta, parameters),
        tf.zeros(num_runs, "int32"),
        seeds,
    )
    carried = [tf.zeros((num_tasks, *s.shape)) for s in rule.carried(theta, unroll)]

    @tf.function(autograph=False)
    def run(runs, carried, noise_seeds):
        return rule.meta_gradient(
            Window(unroll, mean, theta, data, runs, truncation, carried, noise_seeds)
        )

    gradients, losses = [], []
    for number in range(num_windows):
        noise_seeds = seeds[:num_tasks] + tf.constant([[7, number * 10**6]], "int64")
        result = run(runs, carried, noise_seeds)
        runs, carried = result.runs, result.carried
        gradients.append(result.gradients["pair"].numpy())
        losses.append(result.losses.numpy())
    return np.array(gradients), np.concatenate(losses)


def test_forward_is_the_rule_by_hand():
    _, losses = windows(Truncated(), 3, 4, 3)
    expected = losses_by_hand((0.1, 0.5), 12)[1:]
    np.testing.assert_allclose(losses, np.tile(expected[:, None], (1, 3)), rtol=1e-5)


def test_one_window_over_the_whole_run_is_the_true_gradient():
    gradients, _ = windows(Truncated(), 2, 12, 1)
    np.testing.assert_allclose(
        gradients[0], np.tile(true_gradient(12), (2, 1)), rtol=1e-4
    )


def test_windows_of_truncated_backpropagation_are_biased():
    gradients, _ = windows(Truncated(), 1, 3, 4)
    # What comes before a window counts as constant: most of the effect is missed.
    left = np.abs(gradients.mean(axis=0)[0])
    assert np.all(left < 0.6 * np.abs(true_gradient(12)))


def test_first_order_leaves_out_the_second_derivatives():
    # By hand, one window of two steps of plain descent (momentum 0), w' = w - r g,
    # the second gradient taken for a constant: dw2/dr = -(g0 + g1).
    theta = {"pair": np.array([0.1, 0.0], "float32")}
    gradients, _ = windows(Truncated(), 1, 2, 1, second_order=False, theta=theta)
    c, w0 = np.array([1.0, 0.3]), np.array([1.0, -2.0])
    w1 = w0 - 0.1 * c * w0
    w2 = w1 - 0.1 * c * w1
    expected = 0.5 * (c * w1 * (-c * w0)).sum()
    expected += 0.5 * (c * w2 * (-c * w0 - c * w1)).sum()
    np.testing.assert_allclose(gradients[0, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(("truncation", "num_windows"), [(3, 4), (12, 1)])
def test_pes_is_unbiased_over_windows(truncation, num_windows):
    tasks = 16384
    gradients, losses = windows(PES(sigma=0.01), tasks, truncation, num_windows)
    # Each window's objective is the mean of its own losses.
    estimates = gradients.mean(axis=0)  # (tasks, 2)
    error = estimates.std(axis=0, ddof=1) / np.sqrt(tasks)
    expected = true_gradient(12)
    assert np.all(np.abs(estimates.mean(axis=0) - expected) < 4 * error)
    # The test can tell: what truncation leaves of it is further off.
    truncated, _ = windows(Truncated(), 1, 3, 4)
    assert np.all(4 * error < np.abs(truncated.mean(axis=0)[0] - expected))
    middle = losses_by_hand((0.1, 0.5), 12)[1:]
    np.testing.assert_allclose(losses.mean(axis=1), middle, rtol=2e-2)


def test_windows_of_es_are_biased_as_truncated_backpropagation_is():
    tasks = 4096
    gradients, losses = windows(ES(sigma=0.01), tasks, 3, 4)
    truncated, _ = windows(Truncated(), 1, 3, 4)
    error = gradients.std(axis=1, ddof=1) / np.sqrt(tasks)  # (windows, 2)
    difference = np.abs(gradients.mean(axis=1) - truncated[:, 0])
    assert np.all(difference < 4 * error + 1e-3 * np.abs(truncated[:, 0]))
    # Its runs go on with theta itself.
    expected = losses_by_hand((0.1, 0.5), 12)[1:]
    np.testing.assert_allclose(losses[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("inputs", ["log_sign", "normalized"])
@pytest.mark.parametrize("objective", ["mean", "log"])
def test_the_lstms_gradient_is_that_of_finite_differences(inputs, objective):
    rule = LSTMOptimizer(inputs=inputs, hidden_size=3, num_layers=2, seed=1)
    unroll = RuleUnroll(Quadratic(3, initial_scale=1.0), rule, True)
    theta = {n: tf.constant(v) for n, v in rule.initial_theta({}, 1).items()}
    seeds = tf.constant([[0, 3], [0, 4]], "int64")
    data, parameters = unroll.sampled(seeds)
    runs = Runs(
        parameters, unroll.started(theta, parameters), tf.zeros(2, "int32"), seeds
    )
    function = META_OBJECTIVES[objective]

    @tf.function(autograph=False)
    def result(theta):
        window = Window(unroll, function, theta, data, runs, 5, [], seeds)
        return Truncated().meta_gradient(window)

    gradients = result(theta).gradients
    random = np.random.default_rng(0)
    for _ in range(3):
        direction = {n: random.normal(size=v.shape) for n, v in theta.items()}
        along = sum(
            np.tensordot(g.numpy(), direction[n], axes=direction[n].ndim)
            for n, g in gradients.items()
        )
        ends = []
        for sign in (1.0, -1.0):
            moved = {
                n: v + tf.constant(sign * 3e-3 * direction[n], "float32")
                for n, v in theta.items()
            }
            ends.append(result(moved).values.numpy())
        np.testing.assert_allclose(
            along, (ends[0] - ends[1]) / 6e-3, rtol=0.02, atol=2e-3
        )


def test_log_objective_by_hand():
    losses = tf.constant([[1.0, 0.0], [np.e, 1.0]])
    values = META_OBJECTIVES["log"](losses)
    np.testing.assert_allclose(values, [0.5, np.log(1e-8) / 2], rtol=1e-6)


@pytest.mark.parametrize("rule", [PES, ES])
@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), "a"])
def test_sigma_out_of_range(rule, sigma):
    with pytest.raises(ValueError, match="Argument `sigma` must be finite and > 0"):
        rule(sigma=sigma)
