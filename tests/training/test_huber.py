import numpy as np
import pytest
import tensorflow as tf

from keras_meta.training import Huber


def compiled(jit=False, **kwargs):
    """Returns a function from losses to the value and its gradient, both times 3."""

    @tf.function(jit_compile=jit, autograph=False)
    def run(losses):
        with tf.GradientTape() as tape:
            tape.watch(losses)
            value = 3.0 * Huber(**kwargs)(losses)
        return value, tape.gradient(value, losses)

    def value_and_weights(losses):
        value, gradient = run(tf.constant(losses, tf.float32))
        return float(value) / 3.0, gradient.numpy() / 3.0

    return value_and_weights


def scale_of(losses):
    return 1.4826 * np.median(np.abs(losses - np.median(losses)))


def location(losses, reach):
    """Solves sum clip(l - m, -reach, reach) = 0 by bisection."""
    low, high = losses.min(), losses.max()
    for _ in range(100):
        middle = 0.5 * (low + high)
        if np.clip(losses - middle, -reach, reach).sum() > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("threshold", [1.0, 1.345])
@pytest.mark.parametrize("size", [3, 4, 16, 25])
def test_value_and_weights_are_those_of_bisection(size, threshold, jit):
    """Weights are central differences with the scale held constant."""
    value_and_weights = compiled(jit, threshold=threshold)
    for seed in range(3):
        generator = np.random.default_rng([size, seed])
        losses = generator.lognormal(0.0, 2.0, size).astype("float32").astype("float64")
        reach = threshold * scale_of(losses)
        value, weights = value_and_weights(losses)
        np.testing.assert_allclose(value, location(losses, reach), atol=1e-3 * reach)
        step = 1e-6 * reach
        wanted = [
            (location(losses + step * u, reach) - location(losses - step * u, reach))
            / (2 * step)
            for u in np.eye(size)
        ]
        np.testing.assert_allclose(weights, wanted, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    "losses, value, weights",
    [
        # The scale is 0: the median, and the tasks that have exactly this loss.
        ([5.0, 0.1, 0.1, 0.1, -7.0], 0.1, [0.0, 1 / 3, 1 / 3, 1 / 3, 0.0]),
        ([0.3] * 7, 0.3, [1 / 7] * 7),
        # Outliers of any size.
        ([1e30, 1.0, 2.0, 3.0, 1e30], None, [0.0, 1 / 3, 1 / 3, 1 / 3, 0.0]),
    ],
)
def test_degenerate_losses(losses, value, weights, jit):
    got, gradient = compiled(jit)(losses)
    if value is None:
        # Median 3, scale 1.4826 * 2: the two outliers pull as 1.345 scales each.
        value = 2.0 + 2 * 1.345 * 1.4826 * 2 / 3
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(gradient, weights, rtol=1e-5)


def test_no_task_within_the_threshold_gives_the_median():
    """Of 0 and 1 the deviation is 0.5: 0.1 * 1.4826 * 0.5 reaches neither."""
    value, weights = compiled(threshold=0.1)([0.0, 1.0])
    assert value == 0.5
    np.testing.assert_array_equal(weights, [0.5, 0.5])


def test_a_large_threshold_gives_the_mean():
    losses = np.random.default_rng(0).normal(size=12).astype("float32")
    value, weights = compiled(threshold=1e3)(losses)
    np.testing.assert_allclose(value, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(weights, np.full(12, 1 / 12), rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.inf, np.nan, "1", None, True])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(
        ValueError, match="`threshold` must be > 0 and finite. Received: threshold="
    ):
        Huber(threshold)
