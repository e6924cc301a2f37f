"""The past tasks' own surfaces as a prior for a new one's."""

import numpy as np
import scipy.linalg

from keras_meta.tuner.gaussian_process import matern52

SPREADS = (0.0, 0.3, 0.6, 1.0, 1.5)  # times the surfaces' own covariance
RESIDUALS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # times the kernel's variance
TRIALS_OF_EACH = 25
FEWEST_TASKS = 3
OFFSET_PRECISION = 4.0
JITTER = 1e-8
UNTESTED = (0.5, 0.7)  # spread and residual, with too few tasks to test them
# Times the median distance of descriptions; with the first all tasks are as near.
WIDTHS = (np.inf, 1.0, 0.5, 0.25)


class TaskBasis:
    """A new task's surface as a mixture of past ones, plus a residual.

    `f = m + sum_t w_t (mu_t - m) + r`: mu_t is past task t's surface, m their mean
    weighted by `nearness`, w_t normal with variance `spread * nearness_t`, r a Gaussian
    process. Nearness is an attention over past tasks: a softmax of minus the squared
    distance of descriptions over `2 width^2`. Width, spread and the residual's size are
    those of the greatest evidence when each past task in turn is predicted from all
    others: descriptions that do not help are not used.

    Args:
        past: `PastTasks`.
        distances: float `(tasks + 1, tasks)`, squared distances of descriptions between
            past tasks and, last, of the new one to them; or None: not known.

    Attributes:
        nearness: float `(tasks,)`, of the past tasks to the new one; sums to 1.
        width, spread, residual, noise: floats, what was chosen.
    """

    def __init__(self, past, distances=None):
        self.past = past
        self.unit = 0.0
        widths = WIDTHS[:1]
        if distances is None:
            distances = np.zeros((len(past) + 1, len(past)))
        else:
            self.unit = np.sqrt(np.median(distances))
            widths = WIDTHS if self.unit > 0.0 else WIDTHS[:1]
        self.distances = distances
        found = self._chosen(widths)
        self.width, self.spread, self.residual, self.noise = found
        self.nearness = self._attention(distances[-1], self.width)

    def outputs(self, x):
        """Returns m `(n,)`, and features `(n, tasks)`: their products covary."""
        means = self.past.surface_means(x)
        mean = self.nearness @ means
        return mean, (means - mean).T * np.sqrt(self.spread * self.nearness)

    def covariance(self, features, others):
        """Returns the covariance of the mixtures, `(n, m)`."""
        return features @ others.T

    def task_weights(self, features, posterior):
        """Returns what a new task's scores say about each w_t: their posterior means.

        Args:
            features: float `(n, tasks)` at the points whose scores are known.
            posterior: `AffinePosterior` with this prior.
        """
        residual = scipy.linalg.cho_solve(
            (posterior.factor, True), posterior.values - posterior.prior_mean
        )
        deviations = np.sqrt(self.spread * self.nearness)
        return self.nearness + deviations * (features.T @ residual)

    def _attention(self, squares, width):
        if np.isinf(width):
            return np.full(len(squares), 1.0 / len(squares))
        logits = -0.5 * squares / (width * self.unit) ** 2
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    def _chosen(self, widths):
        sizes, past = self.past.sizes, self.past
        noise = np.exp(sizes.noise)
        if len(past) < FEWEST_TASKS:
            return (np.inf, *UNTESTED, noise)
        generator = np.random.default_rng([past.seed, 2])
        tasks = []
        for index, (x, _) in enumerate(past.tasks):
            rows = generator.permutation(len(x))[:TRIALS_OF_EACH]
            kernel = np.exp(sizes.amplitude) * matern52(
                x[rows], x[rows], np.exp(sizes.lengths)
            )
            others = np.delete(past.surface_means(x[rows]), index, axis=0)
            tasks.append((past.ranks[index][rows], others, kernel))
        best = (-np.inf,)
        for width in widths:
            data = []
            for index, (y, others, kernel) in enumerate(tasks):
                share = self._attention(np.delete(self.distances[index], index), width)
                mean = share @ others
                features = (others - mean).T * np.sqrt(share)
                data.append((y - mean, features @ features.T, kernel))
            for spread in SPREADS:
                for residual in RESIDUALS:
                    for own_noise in (noise, 4.0 * noise, 0.03):
                        evidence = sum(
                            _log_evidence(
                                y,
                                spread * mixture
                                + residual * kernel
                                + (own_noise + JITTER) * np.eye(len(y)),
                            )
                            for y, mixture, kernel in data
                        )
                        best = max(best, (evidence, width, spread, residual, own_noise))
        return best[1:]


def _log_evidence(y, covariance):
    """Log density of y but for constants, with a level of its own integrated out."""
    factor = np.linalg.cholesky(covariance)
    columns = np.stack([np.ones(len(y)), y], axis=1)
    one, e = scipy.linalg.solve_triangular(factor, columns, lower=True).T
    shift = one @ e / (one @ one + OFFSET_PRECISION)
    return -0.5 * ((e - shift * one) ** 2).sum() - np.log(np.diag(factor)).sum()
