"""Expected improvement, and the search for the point that has most of it."""

import numpy as np
import scipy.stats

RANDOM = 1500
LOCAL = 1000
ROUNDS = 3
KEPT = 8
AROUND_KEPT = 160
SHARES = (0.2, 0.4, 0.8)  # of the coordinates that a local candidate changes
WIDTHS = (0.02, 0.08, 0.2)  # standard deviations of these changes


def expected_improvement(mean, variance, best):
    """Returns E[max(f - best, 0)], (n,) (Jones et al. 1998, equation 15)."""
    deviation = np.sqrt(variance)
    z = (mean - best) / deviation
    value = deviation * (z * scipy.stats.norm.cdf(z) + scipy.stats.norm.pdf(z))
    # Where nothing is to be expected the means still tell points apart.
    return np.maximum(value, 0.0) + 1e-12 * mean


def most_valuable(value, space, generator, around, seen):
    """Returns the point of greatest value that was not seen, or None.

    Args:
        value: function of points `(n, d)` to floats `(n,)`.
        space: `SearchSpace`.
        generator: `numpy.random.Generator`.
        around: float `(m, d)`, points to look around first; m may be 0.
        seen: set of what `space.key(point)` gave for known points.
    """
    points = [space.sample(generator, RANDOM)]
    if len(around):
        points.append(_moved(space, generator, around, LOCAL))
        points.append(space.snap(around))
    points = np.concatenate(points)
    values = value(points)
    for _ in range(ROUNDS):
        best = points[np.argsort(-values)[:KEPT]]
        points = np.concatenate([best, _moved(space, generator, best, AROUND_KEPT)])
        values = value(points)
    for index in np.argsort(-values):
        if space.key(points[index]) not in seen:
            return points[index]
    return None


def _moved(space, generator, points, count):
    """Returns points near given ones, `(count, d)`."""
    start = points[generator.integers(len(points), size=count)]
    shares = generator.choice(SHARES, (count, 1))
    widths = generator.choice(WIDTHS, (count, 1))
    changed = generator.random(start.shape) < shares
    moves = changed * generator.normal(size=start.shape) * widths
    return space.snap(space.moved(start, moves, changed, generator))
