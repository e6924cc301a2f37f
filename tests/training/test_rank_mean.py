"""`rank_mean` and what is made of it: `Median`, `TrimmedMean` and `CVaR`."""

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.training import CVaR, Median, TrimmedMean

SIZES = [1, 2, 3, 4, 5, 9, 16, 25]


def values_and_weights(reductions, losses, jit=False):
    """Returns, for each reduction, its value and its gradient; one compilation."""

    @tf.function(jit_compile=jit, autograph=False)
    def run(losses):
        results = []
        for reduction in reductions:
            with tf.GradientTape() as tape:
                tape.watch(losses)
                value = reduction(losses)
            results.append((value, tape.gradient(value, losses)))
        return results

    results = run(tf.constant(losses, tf.float32))
    return [(float(value), weights.numpy()) for value, weights in results]


def differences(function, losses, step=1e-6):
    """Returns central differences of a NumPy function in float64."""
    losses = np.asarray(losses, "float64")
    return np.array(
        [
            (function(losses + step * unit) - function(losses - step * unit)) / 2 / step
            for unit in np.eye(len(losses))
        ]
    )


def trimmed_by_integral(fraction):
    """The quantile curve's mean over [fraction, 1 - fraction], on a fine grid."""

    def function(losses):
        # The grid has whole cells at every multiple of 1 / 1000 of a task.
        cells = np.repeat(np.sort(losses), 1000)
        cut = round(fraction * len(cells))
        return cells[cut : len(cells) - cut].mean()

    return function


def cvar_by_minimum(fraction):
    """Rockafellar & Uryasev 2000: min over a of a + mean(max(l - a, 0)) / fraction."""

    def function(losses):
        # Piecewise linear and convex in a: the minimum is at one of the losses.
        excess = np.maximum(losses[None, :] - losses[:, None], 0.0)
        return (losses + excess.mean(axis=1) / fraction).min()

    return function


CASES = [
    (Median(), np.median),
    *[(TrimmedMean(f), trimmed_by_integral(f)) for f in (0.0, 0.1, 0.2, 0.375, 0.47)],
    *[(CVaR(f), cvar_by_minimum(f)) for f in (1.0, 0.5, 0.3, 0.125, 0.01)],
]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_weights_are_those_of_independent_programs(size, jit):
    losses = np.random.default_rng(size).lognormal(0.0, 2.0, size).astype("float32")
    results = values_and_weights([reduction for reduction, _ in CASES], losses, jit)
    for (reduction, function), (value, weights) in zip(CASES, results, strict=True):
        told = f"{type(reduction).__name__} {reduction.get_config()}"
        np.testing.assert_allclose(
            value, function(losses.astype("float64")), rtol=1e-5, err_msg=told
        )
        np.testing.assert_allclose(
            weights, differences(function, losses), atol=1e-5, err_msg=told
        )


@pytest.mark.parametrize("jit", [False, True])
def test_weights_of_ties_sum_to_one(jit):
    losses = [2.0] * 5
    reductions = [reduction for reduction, _ in CASES]
    for value, weights in values_and_weights(reductions, losses, jit):
        np.testing.assert_allclose([value, weights.sum()], [2.0, 1.0], rtol=1e-6)
        assert (weights >= 0.0).all()


def test_trimming_a_whole_number_lets_nothing_through():
    """0.1 * 30 is 3.0000000000000004 and 0.29 * 100 is 28.999999999999996."""
    for fraction, size, cut in ((0.1, 30, 3), (0.29, 100, 29)):
        losses = np.arange(size, dtype="float32")
        losses[-cut:] = 1e30
        ((value, weights),) = values_and_weights([TrimmedMean(fraction)], losses)
        assert (weights[-cut:] == 0.0).all()
        np.testing.assert_allclose(value, np.arange(cut, size - cut).mean(), rtol=1e-6)


@pytest.mark.parametrize("fraction", [-0.1, 0.5, 1.0, np.nan, "0.2", None, True])
def test_trimmed_mean_refuses(fraction):
    with pytest.raises(
        ValueError, match=r"`fraction` must be in \[0, 0.5\). Received: fraction="
    ):
        TrimmedMean(fraction)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, np.inf, np.nan, "1", None, True])
def test_cvar_refuses(fraction):
    with pytest.raises(
        ValueError, match=r"`fraction` must be in \(0, 1\]. Received: fraction="
    ):
        CVaR(fraction)


@pytest.mark.parametrize("shape", [(), (0,), (2, 2)])
def test_losses_of_other_shapes_are_refused(shape):
    for reduction in (Median(), TrimmedMean(), CVaR()):
        with pytest.raises(ValueError, match=r"shape \(num_tasks,\) that is known"):
            reduction(tf.zeros(shape))


def test_a_size_that_is_not_known_is_refused():
    traced = tf.function(Median(), autograph=False)
    with pytest.raises(ValueError, match=r"Received: losses.shape=\(None,\)"):
        traced.get_concrete_function(tf.TensorSpec((None,), tf.float32))
