"""Which hyperparameters matter: shares of the variance of past scores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats

from keras_meta.tuner.gaussian_process import GaussianProcess, fitted_sizes
from keras_meta.tuner.importance_result import Importance
from keras_meta.tuner.past_tasks import MIN_TRIALS, length_prior, normal_ranks
from keras_meta.tuner.search_space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras_tuner

    from keras_meta.tuner.experience_pool import ExperiencePool

SAMPLES = 512  # a power of two, as Sobol sequences need
GRID = 17  # points along an axis
PAIR_GRID = 8
OTHERS = 256  # draws of the other hyperparameters
PAIRS_AMONG = 4  # the most important ones, whose pairs are looked at
FEWEST = 2 * MIN_TRIALS
Z_95 = 1.96
RESAMPLES = 200


def importance(
    source: ExperiencePool | keras_tuner.Oracle | keras_tuner.Tuner | str | os.PathLike,
    objective: str | keras_tuner.Objective | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
) -> Importance:
    """Says which hyperparameters past searches depended on, as a whole and one by one.

    For each task a Gaussian process is fitted to the ranks of its trials; the shares
    are its Sobol indices (Saltelli et al. 2010, by `scipy.stats.sobol_indices`) over
    values drawn as KerasTuner draws them. (fANOVA: Hutter et al. 2014, asks the same of
    random forests.)

    Args:
        source: `ExperiencePool`, the path of one, or a KerasTuner tuner or oracle.
        objective: str or None, of a pool: which tasks. Default: that of most tasks.
        tasks: list of str or None, names of tasks of a pool. Default: all.
        seed: int >= 0.

    Returns:
        `Importance`. A hyperparameter that a task does not have is left out there.

    Raises:
        ValueError: if there is no task with at least `FEWEST` scored trials.
    """
    found = [
        task
        for task in _searches(source, objective, tasks)
        if len(task[2]) >= FEWEST
        and np.ptp(task[2]) > 0.0
        and any(_varies(dimension) for dimension in task[1].dimensions)
    ]
    if not found:
        raise ValueError(
            "Importance needs a search with at least "
            f"{FEWEST} scored trials whose scores and values differ. Received: "
            f"{source!r}, objective={objective!r}, tasks={tasks!r}."
        )
    generator = np.random.default_rng(seed)
    per_task, alone, pairs, responses = {}, {}, {}, {}
    for name, space, y, x in found:
        surface = _Surface(space, x, y)
        per_task[name], alone[name] = surface.shares(generator)
        ranked = sorted(per_task[name], key=lambda n: -per_task[name][n][0])
        pairs[name] = surface.pairs(ranked[:PAIRS_AMONG], generator)
        responses[name] = {n: surface.response(n, generator) for n in ranked}
    total = _over_tasks(per_task)
    names = sorted(total, key=lambda n: -total[n][0])
    return Importance(
        names=names,
        tasks=list(per_task),
        total=total,
        alone=_over_tasks(alone),
        pairs=_mean_pairs(pairs),
        per_task=per_task,
        responses=_mean_responses(responses, names),
    )


class _Surface:
    """A search's scores as a function of unit coordinates, one a hyperparameter."""

    def __init__(self, space, x, y):
        self.space = space
        self.dimensions = [
            (d, part)
            for d, part in zip(space.dimensions, space.slices, strict=True)
            if _varies(d)
        ]
        centre, spread = length_prior(space.width)
        ranks = normal_ranks(y)
        ranks = (ranks - ranks.mean()) / ranks.std()
        self.sizes = fitted_sizes(
            [(x, ranks, 0.0)], centre._replace(noise=np.log(0.03)), centre, spread, 40
        )
        self.process = GaussianProcess(x, ranks, self.sizes)

    @property
    def names(self):
        """The hyperparameters' names; the same name in two scopes is told apart."""
        names = [d.name for d, _ in self.dimensions]
        return [
            name
            if names.count(name) == 1
            else f"{name} ({', '.join(f'{p}={v}' for p, v in d.conditions)})"
            for name, (d, _) in zip(names, self.dimensions, strict=True)
        ]

    def points(self, units):
        """Returns the points of unit coordinates `(n, hyperparameters)`."""
        points = np.zeros((len(units), self.space.width))
        for (dimension, part), column in zip(self.dimensions, units.T, strict=True):
            if dimension.ordered:
                points[:, part] = column[:, None]
            else:
                count = len(dimension.values)
                index = np.minimum((column * count).astype(int), count - 1)
                points[:, part] = np.eye(count)[index]
        return self.space.snap(points)

    def scores(self, units):
        return self.process.mean(self.points(units))

    def shares(self, generator):
        """Returns total and first-order shares, dicts to `(share, low, high)`."""
        count = len(self.dimensions)
        if count == 1:
            only = dict.fromkeys(self.names, (1.0, 1.0, 1.0))
            return only, only
        indices = scipy.stats.sobol_indices(
            func=lambda u: self.scores(u.T)[None],
            n=SAMPLES,
            dists=[scipy.stats.uniform()] * count,
            rng=generator,
        )
        resampled = indices.bootstrap(confidence_level=0.95, n_resamples=RESAMPLES)
        results = []
        for values, interval in (
            (indices.total_order, resampled.total_order.confidence_interval),
            (indices.first_order, resampled.first_order.confidence_interval),
        ):
            ends = zip(
                np.ravel(values),
                np.ravel(interval.low),
                np.ravel(interval.high),
                strict=True,
            )
            clipped = [tuple(np.clip(end, 0.0, 1.0).tolist()) for end in ends]
            results.append(dict(zip(self.names, clipped, strict=True)))
        return results

    def pairs(self, names, generator):
        """Returns the share of variance that each pair has only together."""
        if len(self.dimensions) < 2:
            return {}
        units = generator.random((OTHERS, len(self.dimensions)))
        variance = max(
            self.scores(generator.random((2048, units.shape[1]))).var(), 1e-12
        )
        grid = (np.arange(PAIR_GRID) + 0.5) / PAIR_GRID
        shares = {}
        index = {name: i for i, name in enumerate(self.names)}
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                table = np.empty((PAIR_GRID, PAIR_GRID))
                for i, u in enumerate(grid):
                    for j, v in enumerate(grid):
                        here = units.copy()
                        here[:, index[first]], here[:, index[second]] = u, v
                        table[i, j] = self.scores(here).mean()
                # What is left of the table without its rows' and columns' means.
                table -= table.mean(axis=0, keepdims=True)
                table -= table.mean(axis=1, keepdims=True)
                shares[first, second] = float(min((table**2).mean() / variance, 1.0))
        return shares

    def response(self, name, generator):
        """Returns values along an axis and the mean score at each."""
        index = self.names.index(name)
        dimension, _ = self.dimensions[index]
        units = generator.random((OTHERS, len(self.dimensions)))
        if dimension.values is not None and len(dimension.values) <= GRID:
            count = len(dimension.values)
        else:
            count = GRID
        grid = (np.arange(count) + 0.5) / count
        means, values = [], []
        for u in grid:
            units[:, index] = u
            means.append(self.scores(units).mean())
            values.append(_value_at(dimension, u))
        return values, np.array(means)


def _varies(dimension):
    """Returns whether there is more than one value."""
    return dimension.width > 0 and (
        dimension.values is None or len(dimension.values) > 1
    )


def _value_at(dimension, unit):
    if dimension.ordered:
        return dimension.value([unit])
    return dimension.values[int(unit * len(dimension.values))]


def _searches(source, objective, names):
    """Returns `(name, space, y, x)` of each search, higher is better."""
    from keras_meta.tuner.experience_pool import ExperiencePool

    if isinstance(source, (str, os.PathLike)):
        source = ExperiencePool(source, read_only=True)
    if isinstance(source, ExperiencePool):
        tasks = source.tasks()
        if names is not None:
            missing = sorted(set(names) - {t.name for t in tasks})
            if missing:
                raise ValueError(
                    f"The pool has no task called {missing[0]!r}. It has: "
                    f"{[t.name for t in tasks][:8]}."
                )
            tasks = [t for t in tasks if t.name in names]
        objectives = [t.objective for t in tasks]
        if objective is not None and objective not in objectives:
            raise ValueError(
                f"The pool has no task with the objective {objective!r}. It has: "
                f"{sorted(set(objectives))}."
            )
        if objective is None and objectives:
            objective = max(set(objectives), key=objectives.count)
        return [
            _points(
                t.name,
                t.space,
                t.direction,
                [(s.values, s.score) for s in t.trials if s.score is not None],
            )
            for t in tasks
            if t.objective == objective
        ]
    oracle = getattr(source, "oracle", source)
    trials = getattr(oracle, "trials", None)
    if not isinstance(trials, dict):
        raise ValueError(
            "Argument `source` must be an ExperiencePool, or a KerasTuner tuner or "
            f"oracle. Received: {type(source).__name__}."
        )
    scored = [
        (t.hyperparameters.values, t.score)
        for t in trials.values()
        if t.status == "COMPLETED" and t.score is not None and np.isfinite(t.score)
    ]
    entries = oracle.get_space().get_config()["space"]
    return [_points("this search", entries, oracle.objective.direction, scored)]


def _points(name, entries, direction, scored):
    space = SearchSpace(entries)
    rows, x = space.past_points([values for values, _ in scored])
    y = np.array([scored[row][1] for row in rows], float)
    return name, space, -y if direction == "min" else y, x


def _over_tasks(per_task):
    """Mean and 95 % interval over tasks; with one task, that of the task."""
    collected = {}
    for shares in per_task.values():
        for name, share in shares.items():
            collected.setdefault(name, []).append(share)
    result = {}
    for name, shares in collected.items():
        if len(shares) == 1:
            result[name] = shares[0]
            continue
        values = np.array([share for share, *_ in shares])
        half = Z_95 * values.std(ddof=1) / np.sqrt(len(values))
        mean = values.mean()
        ends = np.clip([mean - half, mean + half], 0.0, 1.0)
        result[name] = (float(mean), *ends.tolist())
    return result


def _mean_pairs(pairs):
    collected = {}
    for shares in pairs.values():
        for names, share in shares.items():
            collected.setdefault(tuple(sorted(names)), []).append(share)
    means = {names: float(np.mean(shares)) for names, shares in collected.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _mean_responses(responses, names):
    """The responses over tasks that have the same values along an axis."""
    result = {}
    for name in names:
        curves = [r[name] for r in responses.values() if name in r]
        values = curves[0][0]
        means = np.array([mean for own, mean in curves if own == values])
        half = np.zeros(len(values))
        if len(means) > 1:
            half = Z_95 * means.std(axis=0, ddof=1) / np.sqrt(len(means))
        mean = means.mean(axis=0)
        result[name] = (values, mean, mean - half, mean + half)
    return result
