"""Gaussian processes with an ARD Matern-5/2 kernel, and the fit of their sizes."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize

JITTER = 1e-7
LENGTH_BOUNDS = (np.log(0.03), np.log(20.0))
AMPLITUDE_BOUNDS = (-6.0, 4.0)
NOISE_BOUNDS = (np.log(1e-6), 0.0)
IMPOSSIBLE = 1e10  # in the place of the likelihood of what has no Cholesky factor


class Sizes(NamedTuple):
    """Logarithms of a kernel's length scales `(d,)`, its variance and the noise's."""

    lengths: np.ndarray
    amplitude: float
    noise: float

    def vector(self):
        """Returns them in one row, `(d + 2,)`."""
        return np.r_[self.lengths, self.amplitude, self.noise]

    @classmethod
    def of(cls, vector):
        return cls(vector[:-2], float(vector[-2]), float(vector[-1]))


def matern52(a, b, lengths=1.0):
    """Returns the correlations `(len(a), len(b))` of points `(n, d)`, 1 at no distance.

    Rasmussen & Williams 2006, equation 4.17, with a length scale for each dimension.
    """
    a, b = a / lengths, b / lengths
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * a @ b.T
    r = np.sqrt(5.0 * np.maximum(squares, 0.0))
    return (1.0 + r + r * r / 3.0) * np.exp(-r)


def penalised_nll(vector, x, y, added, centre, spread):
    """Returns minus the logarithm of likelihood times prior, and its gradient.

    Args:
        vector: float `(d + 2,)`, see `Sizes.vector`.
        x: float `(n, d)`.
        y: float `(n,)`, of mean zero under the prior.
        added: float `(n, n)`, a covariance that is not fitted; or 0.
        centre, spread: float `(d + 2,)`, of the normal prior of `vector`.
    """
    sizes = Sizes.of(vector)
    squares = ((x[:, None] - x[None]) / np.exp(sizes.lengths)) ** 2
    r = np.sqrt(5.0 * squares.sum(-1))
    decay = np.exp(-r)
    own = np.exp(sizes.amplitude) * (1.0 + r + r * r / 3.0) * decay
    noise = np.exp(sizes.noise)
    covariance = own + added + (noise + JITTER) * np.eye(len(x))
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return IMPOSSIBLE, np.zeros_like(vector)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(x)))
    alpha = inverse @ y
    distance = (vector - centre) / spread
    value = 0.5 * y @ alpha + np.log(np.diag(factor)).sum()
    value += 0.5 * (distance * distance).sum()
    # d value / d covariance is this, halved.
    outer = inverse - np.outer(alpha, alpha)
    slope = np.exp(sizes.amplitude) * (5.0 / 3.0) * (1.0 + r) * decay
    gradient = np.empty_like(vector)
    gradient[:-2] = 0.5 * np.einsum("ij,ijk->k", outer * slope, squares)
    gradient[-2] = 0.5 * (outer * own).sum()
    gradient[-1] = 0.5 * np.trace(outer) * noise
    return value, gradient + distance / spread


def fitted_sizes(datasets, start, centre, spread, iterations=20):
    """Returns the `Sizes` shared by data sets that are likeliest under a prior.

    Args:
        datasets: list of `(x, y, added)`, see `penalised_nll`.
        start: `Sizes`.
        centre, spread: `Sizes`, of the normal prior of the logarithms; it counts once.
        iterations: int, at most so many of L-BFGS-B.
    """
    centre, spread = centre.vector(), spread.vector()
    infinite = np.full_like(spread, np.inf)

    def total(vector):
        value, gradient = 0.0, np.zeros_like(vector)
        for index, (x, y, added) in enumerate(datasets):
            found = penalised_nll(
                vector, x, y, added, centre, spread if index == 0 else infinite
            )
            value, gradient = value + found[0], gradient + found[1]
        return value, gradient

    bounds = [LENGTH_BOUNDS] * len(start.lengths) + [AMPLITUDE_BOUNDS, NOISE_BOUNDS]
    found = scipy.optimize.minimize(
        total,
        np.clip(start.vector(), *np.transpose(bounds)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    return Sizes.of(found.x)


class GaussianProcess:
    """The posterior of a function of which noisy values are known.

    Args:
        x: float `(n, d)`.
        y: float `(n,)`; the prior mean is their mean.
        sizes: `Sizes`.
    """

    def __init__(self, x, y, sizes):
        self.x = x
        self.lengths, self.variance = np.exp(sizes.lengths), np.exp(sizes.amplitude)
        self.level = y.mean()
        covariance = self.variance * matern52(x, x, self.lengths)
        covariance[np.diag_indices_from(covariance)] += np.exp(sizes.noise) + JITTER
        self._factor = np.linalg.cholesky(covariance)
        self._alpha = scipy.linalg.cho_solve((self._factor, True), y - self.level)

    def mean(self, x):
        """Returns the posterior means `(n,)` at points `(n, d)`."""
        across = matern52(x, self.x, self.lengths)
        return self.level + self.variance * across @ self._alpha

    def predict(self, x):
        """Returns posterior means and variances (without noise), `(n,)` each."""
        across = self.variance * matern52(x, self.x, self.lengths)
        half = scipy.linalg.solve_triangular(self._factor, across.T, lower=True)
        variance = self.variance - (half * half).sum(0)
        return self.level + across @ self._alpha, np.maximum(variance, 1e-10)
