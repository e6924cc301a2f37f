"""A list of configurations of which some is good on every past task."""

import numpy as np

FROM_EACH_TASK = 4
RANDOM_POINTS = 1500
BEST_RANDOM = 100
WORST_REGRET = 3.0


def greedy_portfolio(past, space, generator, size=50):
    """Returns points, each the one that lowers the mean regret of all before it most.

    The regret of a list on a past task is that of its best point: of the distance
    between the task's best score and its median, the share that is missing.
    Candidates are the past tasks' best trials and the points that their surfaces hold
    best on average (Xu et al. 2010, "Hydra", and Feurer et al. 2022,
    arXiv:2007.04074, build portfolios greedily for algorithms and configurations).

    Args:
        past: `PastTasks`.
        space: `SearchSpace` or what has its `sample` and `snap`.
        generator: `numpy.random.Generator`.
        size: int, at most so many points.

    Returns:
        float `(size or fewer, coordinates)`.
    """
    tops = [x[np.argsort(-y)[:FROM_EACH_TASK]] for x, y in past.tasks]
    tops = np.unique(space.snap(np.concatenate(tops)), axis=0)
    drawn = space.sample(generator, RANDOM_POINTS)
    of_tops, of_drawn = past.surface_means(tops), past.surface_means(drawn)
    best = np.maximum(
        past.best_ranks, np.concatenate([of_tops, of_drawn], axis=1).max(axis=1)
    )
    liked = np.argsort(-of_drawn.mean(axis=0))[:BEST_RANDOM]
    points = np.concatenate([tops, drawn[liked]])
    values = np.concatenate([of_tops, of_drawn[:, liked]], axis=1)
    regrets = np.clip(
        (best[:, None] - values) / np.maximum(best[:, None], 1e-3), 0.0, WORST_REGRET
    )
    reached, chosen = np.full(len(regrets), WORST_REGRET), []
    for _ in range(min(size, len(points))):
        means = np.minimum(reached[:, None], regrets).mean(axis=0)
        means[chosen] = np.inf
        chosen.append(int(np.argmin(means)))
        reached = np.minimum(reached, regrets[:, chosen[-1]])
    return points[chosen]
