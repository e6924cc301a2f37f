"""The meta-learned prior of a new task's scores: three, weighed by evidence."""

import numpy as np

from keras_meta.tuner.acquisition import expected_improvement
from keras_meta.tuner.affine_posterior import AffinePosterior
from keras_meta.tuner.deep_prior import DeepPrior
from keras_meta.tuner.gaussian_process import Sizes, fitted_sizes, matern52
from keras_meta.tuner.past_tasks import LONG
from keras_meta.tuner.plain_prior import PlainPrior
from keras_meta.tuner.task_basis import TaskBasis

WEIGHTS = {"deep": 0.45, "basis": 0.45, "plain": 0.1}
FIT_FROM = 5  # known scores, from which on the residual kernel is fitted
FIT_ITERATIONS = 60
CLIP = 3.5  # scores further below the best than so many spreads count as that
LEAST_WEIGHT = 0.01  # components below it are left out of the acquisition
# Standard deviation of the factor, about 1, of a learned prior mean. With few scores,
# all of them alike, a wide one would try what the past says is worst: it is wide from
# the scores on that a trial of the plain prior is among (`suggestions.CONTROL`).
TRUST_SPREADS = {0: 0.2, 6: 1.0}


class Component:
    """One prior, with a residual kernel that the new task's scores fit.

    Args:
        name: str.
        prior: has `outputs(x)` and `covariance(features, others)`.
        centre, spread: `Sizes`, of the residual kernel's prior.
    """

    def __init__(self, name, prior, centre, spread):
        self.name, self.prior = name, prior
        self.centre, self.spread = centre, spread
        self.sizes = centre

    def fit(self, x, y, scale):
        """Conditions on scores `(n,)` at points `(n, d)`; fits the residual kernel."""
        self.x, self.sizes = x, self.centre
        self.mean, self.features = self.prior.outputs(x)
        self.added = self.prior.covariance(self.features, self.features)
        self.trust = max(
            spread for least, spread in TRUST_SPREADS.items() if len(y) >= least
        )
        self.added = self.added + self.trust**2 * np.outer(self.mean, self.mean)
        self._condition(y, scale)
        if len(y) >= FIT_FROM:
            residual = self.posterior.values - self.mean
            self.sizes = fitted_sizes(
                [(x, residual, self.added)],
                self.sizes,
                self.centre,
                self.spread,
                FIT_ITERATIONS,
            )
            self._condition(y, scale)
            centre, spread = self.centre.vector(), self.spread.vector()
            distance = (self.sizes.vector() - centre) / spread
            self.log_evidence -= 0.5 * (distance**2).sum()
        self.best = self.posterior.best_known()

    def predict(self, x):
        """Returns means and variances of f at points, `(n,)` each."""
        mean, features = self.prior.outputs(x)
        variance = np.exp(self.sizes.amplitude)
        across = variance * matern52(x, self.x, np.exp(self.sizes.lengths))
        across = across + self.prior.covariance(features, self.features)
        across = across + self.trust**2 * np.outer(mean, self.mean)
        own = variance + self.trust**2 * mean**2
        if features.shape[1]:
            own = own + self._own_variance(features)
        return self.posterior.predict(mean, across, own)

    def expected(self, x):
        """Returns the expected scores at points, `(n,)`."""
        return self.posterior.offset + self.posterior.scale * self.predict(x)[0]

    def improvement(self, x):
        """Returns the expected improvement at points, in the units of the scores."""
        mean, variance = self.predict(x)
        return self.posterior.scale * expected_improvement(mean, variance, self.best)

    def _own_variance(self, features):
        if isinstance(self.prior, DeepPrior):
            return self.prior.feature_variance
        return (features * features).sum(1)

    def _condition(self, y, scale):
        variance = np.exp(self.sizes.amplitude)
        kernel = variance * matern52(self.x, self.x, np.exp(self.sizes.lengths))
        self.posterior = AffinePosterior(
            self.mean, kernel + self.added, np.exp(self.sizes.noise), y, scale
        )
        self.log_evidence = self.posterior.log_evidence


class Surrogate:
    """What the past and a new task's own scores say about the new task's surface.

    Three priors are conditioned on the scores known so far: a network's, pretrained on
    past tasks (`DeepPrior`); mixtures of past surfaces (`TaskBasis`); and one that
    knows no past. Each has the weight of its evidence times that in `weights`.

    Args:
        past: `PastTasks` or None.
        deep_weights: dict of arrays, of `deep_prior.pretrained_weights`, or None.
        dimensions: int, coordinates of a point.
        distances: float `(tasks + 1, tasks)` or None, see `TaskBasis`.
        weights: dict of prior weights of components.
    """

    def __init__(self, past, deep_weights, dimensions, distances=None, weights=None):
        self.prior_weights = dict(WEIGHTS if weights is None else weights)
        self.scale = None
        self.components = []
        if past is not None:
            self.scale = past.scale
            tight = Sizes(np.full(dimensions, 0.5), 0.7, 1.2)
            basis = TaskBasis(past, distances)
            lengths = np.where(
                past.sizes.lengths > LONG - 0.05, np.log(0.6), past.sizes.lengths
            )
            of_basis = Sizes(
                lengths, np.log(basis.residual) + past.sizes.amplitude, np.log(2e-3)
            )
            deep = DeepPrior(deep_weights)
            lengths = deep.weights["lengths"]
            lengths = np.where(
                lengths > LONG - 0.05,
                np.log(0.6),
                np.clip(lengths, np.log(0.2), np.log(5.0)),
            )
            of_deep = Sizes(lengths, float(deep.weights["amplitude"]), np.log(2e-3))
            self.components += [
                Component("deep", deep, of_deep, tight),
                Component("basis", basis, of_basis, tight),
            ]
        self.components.append(PlainPrior(dimensions))

    def fit(self, x, y):
        """Conditions on finite scores `(n,)`, n >= 1, higher is better, at `(n, d)`."""
        if self.scale is not None and len(y) > 3:
            spread = max(self.scale.typical, y.max() - np.median(y))
            y = np.maximum(y, y.max() - CLIP * spread)
        for component in self.components:
            component.fit(x, y, self.scale)
        logarithms = np.array(
            [
                np.log(self.prior_weights[c.name]) + c.log_evidence
                for c in self.components
            ]
        )
        weights = np.exp(logarithms - logarithms.max())
        weights /= weights.sum()
        self.weights = {
            c.name: w for c, w in zip(self.components, weights, strict=True)
        }

    def component(self, name):
        """Returns the component of a name."""
        return next(c for c in self.components if c.name == name)

    def expected(self, x):
        """Returns the expected scores at points, averaged over components, `(n,)`."""
        return sum(self.weights[c.name] * c.expected(x) for c in self.components)

    def improvement(self, x):
        """Returns the expected improvement at points, averaged over components."""
        total = 0.0
        for component in self.components:
            weight = self.weights[component.name]
            if weight >= LEAST_WEIGHT:
                total = total + weight * component.improvement(x)
        return total
