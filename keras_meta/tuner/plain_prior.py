"""The prior of a new task's scores that knows no past."""

import numpy as np

from keras_meta.tuner.acquisition import expected_improvement
from keras_meta.tuner.affine_posterior import AffinePosterior
from keras_meta.tuner.gaussian_process import GaussianProcess, fitted_sizes, matern52
from keras_meta.tuner.past_tasks import length_prior

FIT_FROM = 5  # known scores, from which on the kernel's sizes are fitted
FIT_ITERATIONS = 60
WORST = -2.5  # standardised scores below this count as this
REACH = 3.0


class PlainPrior:
    """A Gaussian process whose mean is that of the known scores.

    Scores are standardised by their own mean and standard deviation. Not by a mean that
    the process infers: where all known points are good ones, that is far below them,
    and whatever is far from them is never tried.

    Attributes:
        log_evidence: float, that of the scores in their own units, with offset and
            scale unknown as far as `scale` says; 0 without it.

    Args:
        dimensions: int, coordinates of a point.
    """

    name = "plain"

    def __init__(self, dimensions):
        self.centre, self.spread = length_prior(dimensions)

    def fit(self, x, y, scale=None):
        """Conditions on scores `(n,)` at points `(n, d)`.

        Args:
            x, y: float arrays.
            scale: `ScoreScale`, what the past says about the scores, or None.
        """
        values, self.level, self.deviation = standardised(y)
        sizes = self.centre
        if len(y) >= FIT_FROM:
            sizes = fitted_sizes(
                [(x, values, 0.0)], sizes, self.centre, self.spread, FIT_ITERATIONS
            )
        self.process = GaussianProcess(x, values, sizes)
        self.best = values.max()
        self.log_evidence = 0.0
        if scale is not None:
            self.log_evidence = self._log_evidence(x, y, scale)

    def expected(self, x):
        """Returns the expected scores at points, `(n,)`."""
        return self.level + self.deviation * self.process.predict(x)[0]

    def improvement(self, x):
        """Returns the expected improvement at points, in the units of the scores."""
        mean, variance = self.process.predict(x)
        return self.deviation * expected_improvement(mean, variance, self.best)

    def _log_evidence(self, x, y, scale):
        """Returns that of a process in the units that the past gives the scores."""

        def posterior_of(sizes):
            kernel = np.exp(sizes.amplitude) * matern52(x, x, np.exp(sizes.lengths))
            zeros, noise = np.zeros(len(y)), np.exp(sizes.noise)
            return AffinePosterior(zeros, kernel, noise, y, scale)

        posterior = posterior_of(self.centre)
        if len(y) < FIT_FROM:
            return posterior.log_evidence
        sizes = fitted_sizes(
            [(x, posterior.values, 0.0)],
            self.centre,
            self.centre,
            self.spread,
            FIT_ITERATIONS,
        )
        centre, spread = self.centre.vector(), self.spread.vector()
        distance = (sizes.vector() - centre) / spread
        return posterior_of(sizes).log_evidence - 0.5 * (distance**2).sum()


def standardised(y):
    """Returns scores with mean 0 and deviation 1, their mean and their deviation.

    A run that diverged may have any score. What is further below the median than
    `REACH` times what the best is above it counts as that; then what is further below
    the mean than `-WORST` deviations. Equal scores are zeros with a deviation above 0.
    """
    median = np.median(y)
    reach = REACH * max(y.max() - median, np.median(np.abs(y - median)))
    y = np.maximum(y, median - reach)
    level, deviation = y.mean(), max(y.std(), 1e-9)
    y = np.maximum(y, level + WORST * deviation)
    level, deviation = y.mean(), max(y.std(), 1e-9)
    return (y - level) / deviation, level, deviation
