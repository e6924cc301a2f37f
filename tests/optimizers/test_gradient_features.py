"""Gradient features: expected numbers by hand from the papers' formulas."""

import math

import numpy as np
from keras import ops

from keras_meta.optimizers.gradient_features import log_sign, normalized


def test_large_gradients_give_logarithm_over_p_and_sign():
    features = log_sign(ops.convert_to_tensor([math.exp(-4.0), -math.exp(2.0), 1.0]))
    np.testing.assert_allclose(features, [[-0.4, 1], [0.2, -1], [0, 1]], atol=1e-6)


def test_small_gradients_give_minus_one_and_the_gradient_times_exp_p():
    g = ops.convert_to_tensor([0.5 * math.exp(-5.0), 0.0, -0.25 * math.exp(-5.0)])
    features = log_sign(g, p=5.0)
    np.testing.assert_allclose(features, [[-1, 0.5], [-1, 0], [-1, -0.25]], atol=1e-6)


def test_features_keep_the_layout_of_the_gradients():
    assert log_sign(ops.zeros((3, 4))).shape == (3, 4, 2)


def test_normalized_is_bias_corrected_momentum_over_running_size():
    # decay 0.5, second step (step = 1): correction 1 - 0.25 = 0.75.
    # m = 0.5 * 0.4 + 0.5 * 2 = 1.2; v = 0.5 * 1 + 0.5 * 4 = 2.5.
    features, mean, square = normalized(
        ops.convert_to_tensor([2.0]),
        ops.convert_to_tensor([0.4]),
        ops.convert_to_tensor([1.0]),
        1,
        decay=0.5,
    )
    np.testing.assert_allclose(mean, [1.2], rtol=1e-6)
    np.testing.assert_allclose(square, [2.5], rtol=1e-6)
    size = math.sqrt(2.5 / 0.75)
    np.testing.assert_allclose(features, [[1.6 / size, 2.0 / size]], rtol=1e-6)


def test_normalized_does_not_see_the_scale_of_the_loss():
    runs = []
    for scale in (1.0, 1e-4):
        mean = square = ops.zeros(3)
        for step, g in enumerate(([1.0, -2.0, 0.5], [0.3, 1.0, -0.5])):
            g = scale * ops.convert_to_tensor(g)
            features, mean, square = normalized(g, mean, square, step, 0.95)
        runs.append(np.asarray(features))
    # epsilon, 1e-8, is a ten thousandth of the smaller gradients.
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-3)


def test_normalized_of_zeros_is_zero():
    zero = ops.zeros(2)
    features, _, _ = normalized(zero, zero, zero, 0, 0.95)
    np.testing.assert_array_equal(features, np.zeros((2, 2)))


def test_normalized_forgets_a_huge_gradient():
    mean = square = ops.zeros((1,))
    for step, g in enumerate([1.0, 1e30, *[1.0] * 2_500]):
        g = ops.convert_to_tensor([g])
        features, mean, square = normalized(g, mean, square, step, 0.95)
    # All averages are of ones again, the features are the ratios of 1 to 1.
    np.testing.assert_allclose(features, [[1.0, 1.0]], rtol=1e-3)
