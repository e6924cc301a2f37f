"""What is learned of past tasks one by one: their scores' scale and their surfaces."""

import numpy as np
import scipy.stats

from keras_meta.tuner.affine_posterior import ScoreScale
from keras_meta.tuner.gaussian_process import GaussianProcess, Sizes, fitted_sizes

WORST = -2.0  # normalised scores below this count as this: their tail is long and bad
TOP = 0.95  # the quantile of a task's scores that is normalised to 1
CONSTANT = 1e-9
LONG = np.log(20.0)
FITTED_TASKS = 24  # of so many tasks are the kernel's sizes fitted
FITTED_TRIALS = 100
MIN_TRIALS = 3  # tasks with fewer say nothing


def length_prior(dimensions):
    """Returns centre and spread of the kernel's sizes, before any past, two `Sizes`."""
    centre = Sizes(np.full(dimensions, np.log(0.6)), 0.0, np.log(1e-3))
    spread = Sizes(np.full(dimensions, 0.8), 1.0, 1.5)
    return centre, spread


def offset_and_scale(y):
    """Returns the median and the distance from it to the 95th percentile, > 0."""
    offset = np.median(y)
    scale = np.quantile(y, TOP) - offset
    if scale <= 0.0:
        scale = np.std(y)
    return offset, max(scale, 1e-9)


def normalised(y):
    """Returns scores with median 0 and 95th percentile 1, none below `WORST`."""
    offset, scale = offset_and_scale(y)
    return np.maximum((y - offset) / scale, WORST)


def normal_ranks(y):
    """Returns normal quantiles of the scores' ranks: median 0, 95th percentile 1."""
    quantiles = (scipy.stats.rankdata(y) - 0.5) / len(y)
    return scipy.stats.norm.ppf(quantiles) / scipy.stats.norm.ppf(TOP)


class PastTasks:
    """Past searches of one space, as points and scores.

    Args:
        tasks: list of `(x, y)`: float `(n, d)` coordinates (see `SearchSpace`) and
            float `(n,)` scores, higher is better, all finite; at least `MIN_TRIALS`
            each.
        seed: int.

    Attributes:
        scale: `ScoreScale`.
        constant: bool `(d,)`, the coordinates that never varied.
        sizes: `Sizes`, shared by all tasks.
        ranks: list of float `(n,)`, each task's normal ranks.
        surfaces: list of `GaussianProcess`, of each task's normal ranks.
    """

    def __init__(self, tasks, seed=0):
        self.tasks = [(np.asarray(x, float), np.asarray(y, float)) for x, y in tasks]
        pairs = [offset_and_scale(y) for _, y in self.tasks]
        self.scale = ScoreScale(*np.transpose(pairs))
        everything = np.concatenate([x for x, _ in self.tasks])
        self.constant = everything.std(axis=0) < CONSTANT
        self.seed = seed
        generator = np.random.default_rng(seed)
        self.ranks = ranks = [normal_ranks(y) for _, y in self.tasks]
        chosen = generator.permutation(len(self.tasks))[:FITTED_TASKS]
        data = []
        for index in chosen:
            x, y = self.tasks[index][0], ranks[index]
            rows = generator.permutation(len(x))[:FITTED_TRIALS]
            data.append((x[rows], y[rows] - y[rows].mean(), 0.0))
        centre, spread = length_prior(everything.shape[1])
        start = centre._replace(noise=np.log(1e-2))
        sizes = fitted_sizes(data, start, centre, spread, iterations=25)
        lengths = np.where(self.constant, LONG, sizes.lengths)
        self.sizes = sizes._replace(lengths=lengths)
        self.surfaces = [
            GaussianProcess(x, y, self.sizes)
            for (x, _), y in zip(self.tasks, ranks, strict=True)
        ]
        self.best_ranks = np.array([y.max() for y in ranks])

    def __len__(self):
        return len(self.tasks)

    def surface_means(self, x):
        """Returns each task's posterior mean at points `(n, d)`: `(tasks, n)`."""
        return np.stack([surface.mean(x) for surface in self.surfaces])
