"""Gaussian processes against formulas written out, and finite differences."""

import numpy as np
import pytest
import scipy.stats

from keras_meta.tuner.affine_posterior import AffinePosterior, ScoreScale
from keras_meta.tuner.gaussian_process import (
    GaussianProcess,
    Sizes,
    fitted_sizes,
    matern52,
    penalised_nll,
)

SIZES = Sizes(np.log([0.4, 1.5]), 0.3, np.log(0.05))


def data(n=12, seed=0):
    random = np.random.default_rng(seed)
    return random.random((n, 2)), random.normal(size=n)


def kernel(a, b, sizes=SIZES):
    """The Matern-5/2 kernel, one pair after another."""
    out = np.empty((len(a), len(b)))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            distance = np.sqrt((((one - other) / np.exp(sizes.lengths)) ** 2).sum())
            r = np.sqrt(5.0) * distance
            out[i, j] = np.exp(sizes.amplitude) * (1 + r + r * r / 3) * np.exp(-r)
    return out


def test_matern_is_its_formula():
    x, _ = data()
    expected = kernel(x, x[:3], SIZES._replace(amplitude=0.0))
    np.testing.assert_allclose(
        matern52(x, x[:3], np.exp(SIZES.lengths)), expected, atol=1e-7
    )


def test_nll_is_a_normal_density_times_its_prior():
    x, y = data()
    added = 0.1 * np.outer(x[:, 0], x[:, 0])
    centre, spread = np.full(4, 0.1), np.array([0.5, 1.0, 2.0, 3.0])
    received, _ = penalised_nll(SIZES.vector(), x, y, added, centre, spread)
    covariance = kernel(x, x) + added + (0.05 + 1e-7) * np.eye(len(x))
    normal = scipy.stats.multivariate_normal(np.zeros(len(x)), covariance)
    expected = -normal.logpdf(y) - 0.5 * len(x) * np.log(2 * np.pi)
    expected += 0.5 * (((SIZES.vector() - centre) / spread) ** 2).sum()
    assert received == pytest.approx(expected, rel=1e-6)


def test_nll_gradient_is_that_of_finite_differences():
    x, y = data()
    added = 0.1 * np.outer(x[:, 0], x[:, 0])
    centre, spread = np.full(4, 0.1), np.array([0.5, 1.0, 2.0, 3.0])
    vector = SIZES.vector()
    _, received = penalised_nll(vector, x, y, added, centre, spread)
    for index in range(4):
        step = np.zeros(4)
        step[index] = 1e-5
        ends = [
            penalised_nll(vector + sign * step, x, y, added, centre, spread)[0]
            for sign in (1, -1)
        ]
        assert received[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_fitted_sizes_find_those_that_drew_the_data():
    random = np.random.default_rng(0)
    truth = Sizes(np.log([0.3, 3.0]), 0.0, np.log(1e-3))
    datasets = []
    for _ in range(6):
        x = random.random((40, 2))
        covariance = kernel(x, x, truth) + 1e-3 * np.eye(40)
        datasets.append((x, np.linalg.cholesky(covariance) @ random.normal(size=40), 0))
    centre, spread = Sizes(np.zeros(2), 0.0, np.log(1e-2)), Sizes(np.ones(2), 1.0, 2.0)
    found = fitted_sizes(datasets, centre, centre, spread, iterations=60)
    np.testing.assert_allclose(found.lengths, truth.lengths, atol=0.4)
    assert found.noise == pytest.approx(truth.noise, abs=0.5)


def test_posterior_is_that_of_a_conditioned_normal():
    x, y = data()
    new = np.random.default_rng(1).random((5, 2))
    process = GaussianProcess(x, y, SIZES)
    inverse = np.linalg.inv(kernel(x, x) + (0.05 + 1e-7) * np.eye(len(x)))
    across = kernel(new, x)
    mean = y.mean() + across @ inverse @ (y - y.mean())
    variance = np.exp(SIZES.amplitude) - np.diag(across @ inverse @ across.T)
    np.testing.assert_allclose(process.mean(new), mean, rtol=1e-6)
    received = process.predict(new)
    np.testing.assert_allclose(received[0], mean, rtol=1e-6)
    np.testing.assert_allclose(received[1], variance, rtol=1e-5)


def affine(n=6):
    x, y = data(n)
    scale = ScoreScale(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    mean = np.sin(3.0 * x[:, 0])
    return x, 2.0 + 3.0 * y, mean, scale


def test_affine_evidence_is_the_integral_over_offset_and_scale():
    x, y, mean, scale = affine()
    posterior = AffinePosterior(mean, kernel(x, x), 0.05, y, scale)
    logarithms = scale.log_mean + scale.log_spread * np.linspace(-3, 3, 19)
    densities = []
    for logarithm in logarithms:
        b = np.exp(logarithm)
        covariance = b**2 * (kernel(x, x) + (0.05 + 1e-8) * np.eye(len(x)))
        covariance += scale.offset_variance  # an offset is shared by all points
        normal = scipy.stats.multivariate_normal(scale.offset + b * mean, covariance)
        prior = -0.5 * ((logarithm - scale.log_mean) / scale.log_spread) ** 2
        densities.append(normal.logpdf(y) + prior)
    # One constant, the same for all priors and sizes, is left out of the evidence.
    expected = np.log(np.mean(np.exp(densities))) + 0.5 * len(y) * np.log(2 * np.pi)
    assert posterior.log_evidence == pytest.approx(expected, rel=1e-6)
    assert posterior.scale == pytest.approx(np.exp(logarithms[np.argmax(densities)]))


def test_affine_prediction_is_that_of_the_values_it_found():
    """With the offset fixed at what was found: a conditioned normal."""
    x, y, mean, scale = affine()
    posterior = AffinePosterior(mean, kernel(x, x), 0.05, y, scale)
    np.testing.assert_allclose(
        posterior.values, (y - posterior.offset) / posterior.scale
    )
    new = np.random.default_rng(1).random((5, 2))
    prior = np.sin(3.0 * new[:, 0])
    inverse = np.linalg.inv(kernel(x, x) + (0.05 + 1e-8) * np.eye(len(x)))
    across = kernel(new, x)
    expected = prior + across @ inverse @ (posterior.values - mean)
    received = posterior.predict(prior, across, np.full(5, np.exp(SIZES.amplitude)))
    np.testing.assert_allclose(received[0], expected, rtol=1e-6)
    left = np.exp(SIZES.amplitude) - np.diag(across @ inverse @ across.T)
    np.testing.assert_allclose(received[1], left, rtol=1e-5)
