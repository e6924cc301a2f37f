"""Posterior of a function known up to an unknown scale and offset of its values."""

import numpy as np
import scipy.linalg

NUM_SCALES = 19
REACH = 3.0  # standard deviations of the scale's prior to either side
MIN_SPREAD = 0.25  # of the logarithm of the scale
OFFSET_SPREAD = 10.0  # in scales
JITTER = 1e-8


class ScoreScale:
    """What past tasks say about the offset and scale of a new task's scores.

    Args:
        offsets, scales: float `(tasks,)`, medians of the scores and their spreads
            (above 0), in the units of the scores, higher is better.
    """

    def __init__(self, offsets, scales):
        logarithms = np.log(scales)
        self.log_mean = logarithms.mean()
        self.log_spread = max(logarithms.std(), MIN_SPREAD)
        self.typical = np.median(scales)
        self.offset = np.mean(offsets)
        self.offset_variance = 2.0 * np.var(offsets)
        self.offset_variance += (OFFSET_SPREAD * self.typical) ** 2


class AffinePosterior:
    """Posterior of f, given `y = offset + scale * (f + noise)` at some points.

    The offset has a normal prior and is integrated out in closed form; the scale has a
    log-normal prior, is integrated out on a grid for the evidence, and is the best of
    the grid for predictions.

    Args:
        mean: float `(n,)`, prior mean of f at the points.
        covariance: float `(n, n)`, prior covariance of f.
        noise: float, variance.
        y: float `(n,)`.
        scale: `ScoreScale`.

    Attributes:
        log_evidence: float, `log p(y)`.
        scale: float, the likeliest scale.
        values: float `(n,)`, f as the scores have it, `(y - offset) / scale`.
    """

    def __init__(self, mean, covariance, noise, y, scale):
        self.prior_mean, self.covariance = mean, covariance
        n = len(y)
        self.factor = np.linalg.cholesky(covariance + (noise + JITTER) * np.eye(n))
        logarithms = scale.log_mean + scale.log_spread * np.linspace(
            -REACH, REACH, NUM_SCALES
        )
        scales = np.exp(logarithms)
        one, level, mean_part = scipy.linalg.solve_triangular(
            self.factor,
            np.stack([np.ones(n), y - scale.offset, mean], axis=1),
            lower=True,
        ).T
        residuals = level[None] / scales[:, None] - mean_part  # (scales, n)
        variance = scale.offset_variance / scales**2
        precision = 1.0 / variance + one @ one
        shift = residuals @ one / precision
        evidence = -0.5 * ((residuals**2).sum(1) - shift**2 * precision)
        evidence -= np.log(np.diag(self.factor)).sum() + n * logarithms
        evidence -= 0.5 * np.log(variance * precision)
        evidence -= 0.5 * ((logarithms - scale.log_mean) / scale.log_spread) ** 2
        best = int(np.argmax(evidence))
        greatest = evidence[best]
        self.log_evidence = greatest + np.log(np.exp(evidence - greatest).mean())
        self.scale = scales[best]
        self.offset = scale.offset + shift[best] * self.scale
        self.values = (y - self.offset) / self.scale
        self._residual = residuals[best] - shift[best] * one

    def predict(self, mean, across, variance):
        """Returns posterior means and variances of f at other points, `(m,)` each.

        Args:
            mean, variance: float `(m,)`, prior ones at these points.
            across: float `(m, n)`, prior covariances with the known points.
        """
        half = scipy.linalg.solve_triangular(self.factor, across.T, lower=True)
        left = variance - (half * half).sum(0)
        return mean + half.T @ self._residual, np.maximum(left, 1e-9)

    def best_known(self):
        """Returns the greatest posterior mean of f at the known points."""
        variance = np.diag(self.covariance)
        return self.predict(self.prior_mean, self.covariance, variance)[0].max()
