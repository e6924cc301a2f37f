"""From past tasks and a search's own trials to the next trial to run."""

import hashlib

import numpy as np
import safetensors.numpy
import tensorflow as tf

from keras_meta.tuner.acquisition import most_valuable
from keras_meta.tuner.deep_prior import pretrained_weights
from keras_meta.tuner.past_tasks import CONSTANT, MIN_TRIALS, PastTasks
from keras_meta.tuner.portfolio import greedy_portfolio
from keras_meta.tuner.surrogate import Surrogate

DRAWN_FIRST = 6  # random trials of a search without a past
CONTROL = 5  # the trial that the plain prior chooses: a test of the past
FROM_PORTFOLIO = 12
BEST_KNOWN = 5
MOST_SURFACES = 64  # past tasks whose own surfaces count; the deep prior sees all
CACHE_VERSION = "deep-prior-1"


class Suggestions:
    """Suggests points, given what past tasks say and what the search has shown.

    The first trial is the portfolio's; then the greatest expected improvement under
    `Surrogate`, but for trial number `CONTROL`, which is that of the prior without a
    past: where the past misleads, all that it suggests is alike, and only a trial that
    it would not have suggested can tell. Without a past, `DRAWN_FIRST` trials are
    random.

    Attributes:
        chosen: list of int, the tasks whose own surfaces count.

    Args:
        space: `SearchSpace`.
        tasks: list of `(x, y)`, points of the space and scores, higher is better.
        pool: None or what has `cached(key)` and `keep(key, blob)`: where a pretrained
            prior is kept.
        distances: float `(tasks + 1, tasks)` or None, see `TaskBasis`.
        seed: int.
    """

    def __init__(self, space, tasks, pool=None, distances=None, seed=0):
        self.space, self.seed = space, seed
        self.past = self.portfolio = deep = None
        tasks = [(np.asarray(x, float), np.asarray(y, float)) for x, y in tasks]
        self.chosen = _chosen_tasks(len(tasks), distances)
        if tasks and space.width:
            self.past = PastTasks([tasks[index] for index in self.chosen])
            if distances is not None:
                distances = distances[np.ix_([*self.chosen, -1], self.chosen)]
            deep = _deep_weights(tasks, pool)
            self.portfolio = greedy_portfolio(
                self.past, space, np.random.default_rng(0)
            )
        self.surrogate = Surrogate(self.past, deep, space.width, distances)
        self.weights = None

    def next_point(self, x, y, pending, number):
        """Returns the next point, or None if all known ones were tried.

        Args:
            x: float `(n, width)`, points of finished trials.
            y: float `(n,)`, their scores, higher is better; NaN: failed.
            pending: float `(m, width)`, points of trials that run.
            number: int, how many trials were begun before: the same arguments give
                the same point.
        """
        generator = np.random.default_rng([self.seed, number])
        known = np.isfinite(y)
        seen = {self.space.key(point) for point in [*x, *pending]}
        if self.past is None and known.sum() < DRAWN_FIRST:
            return self._drawn(generator, seen)
        if not known.any():
            return self._of_portfolio(generator, seen)
        # A trial that failed counts as the worst that did not.
        y = np.where(known, y, y[known].min())
        self.surrogate.fit(x, y)
        self.weights = dict(self.surrogate.weights)
        if len(pending):
            # Trials that run count as what is expected of them (Ginsbourger et al.
            # 2010, the "kriging believer").
            y = np.concatenate([y, self.surrogate.expected(pending)])
            x = np.concatenate([x, pending])
            self.surrogate.fit(x, y)
        value = self.surrogate.improvement
        if self.past is not None and number == CONTROL:
            value = self.surrogate.component("plain").improvement
        around = x[np.argsort(-y, kind="stable")[:BEST_KNOWN]]
        if self.portfolio is not None:
            around = np.concatenate([around, self.portfolio[:FROM_PORTFOLIO]])
        point = most_valuable(value, self.space, generator, around, seen)
        return self._drawn(generator, seen) if point is None else point

    def task_weights(self):
        """Returns the weight of each past task in the mixture, `(tasks,)`."""
        if self.past is None:
            return np.zeros(0)
        basis = self.surrogate.component("basis")
        return basis.prior.task_weights(basis.features, basis.posterior)

    def _of_portfolio(self, generator, seen):
        for point in self.portfolio:
            if self.space.key(point) not in seen:
                return point
        return self._drawn(generator, seen)

    def _drawn(self, generator, seen):
        for point in self.space.sample(generator, 200):
            if self.space.key(point) not in seen:
                return point
        return None


def comparable_tasks(past, space, objective, direction, rename=None):
    """Returns the past tasks that say something about a search.

    Args:
        past: list of `PastTask`.
        space: `SearchSpace`.
        objective, direction: str, of the new search. Tasks of another objective are
            left out; of the other direction of it, too.
        rename: dict from a hyperparameter's name there to the name here.

    Returns:
        Tuple `(tasks, used, reasons)`: list of `(x, y)`; the `PastTask` of each; dict
        from reason to the number of tasks or trials left out for it.
    """
    sign = -1.0 if direction == "min" else 1.0
    tasks, used = [], []
    reasons = {}

    def left_out(reason, count=1):
        reasons[reason] = reasons.get(reason, 0) + count

    for task in past:
        if task.objective != objective or task.direction != direction:
            left_out(f"tasks with the objective {task.objective} ({task.direction})")
            continue
        names = {entry["config"]["name"] for entry in task.space}
        if not space.shared_names(names, rename):
            left_out("tasks that share no hyperparameter that varies")
            continue
        scored = [t for t in task.trials if t.score is not None]
        rows, x = space.past_points([t.values for t in scored], rename)
        if len(rows) < len(scored):
            left_out(
                "trials with values that the space has not", len(scored) - len(rows)
            )
        if len(rows) < MIN_TRIALS:
            left_out(f"tasks with fewer than {MIN_TRIALS} usable trials")
            continue
        y = sign * np.array([scored[row].score for row in rows])
        if np.ptp(y) == 0.0:
            left_out("tasks whose scores are all the same")
            continue
        tasks.append((x, y))
        used.append(task)
    return tasks, used, reasons


def description_distances(descriptions, own):
    """Returns squared distances between descriptions, `(tasks + 1, tasks)`, or None.

    Every feature is measured in its standard deviation over the tasks; those that a
    description lacks are left out of its distances.

    Args:
        descriptions: list of dicts from feature to number, or None; the past tasks'.
        own: such a dict or None, the new task's.

    Returns:
        float array, the new task's row last; tasks without a description are at the
        median distance from all. None without `own`, or with fewer than two others.
    """
    known = [d for d in descriptions if d]
    if not own or len(known) < 2:
        return None
    names = sorted(set(own).intersection(set().union(*known)))
    if not names:
        return None
    rows = np.full((len(descriptions) + 1, len(names)), np.nan)
    for row, description in zip(rows, [*descriptions, own], strict=True):
        row[:] = [(description or {}).get(name, np.nan) for name in names]
    spread = np.nanstd(rows, axis=0)
    rows = rows / np.where(spread > 1e-12, spread, np.inf)
    apart = (rows[:, None] - rows[None, :-1]) ** 2
    there = np.isfinite(apart)
    with np.errstate(invalid="ignore"):  # 0 / 0: without a description
        squares = np.where(there, apart, 0.0).sum(axis=-1) / there.sum(axis=-1)
    between = squares[:-1][~np.eye(len(descriptions), dtype=bool)]
    return np.where(np.isnan(squares), np.nanmedian(between), squares)


def _chosen_tasks(count, distances):
    """Returns the indices of at most `MOST_SURFACES` tasks, the nearest or any."""
    if count <= MOST_SURFACES:
        return list(range(count))
    if distances is not None:
        return sorted(np.argsort(distances[-1], kind="stable")[:MOST_SURFACES].tolist())
    drawn = np.random.default_rng(0).permutation(count)
    return sorted(drawn[:MOST_SURFACES].tolist())


def _deep_weights(tasks, pool):
    """Returns the pretrained prior of these tasks, from the pool if it is there."""
    digest = hashlib.sha256(CACHE_VERSION.encode())
    for x, y in tasks:
        digest.update(np.ascontiguousarray(x).tobytes())
        digest.update(np.ascontiguousarray(y).tobytes())
    key = digest.hexdigest()
    blob = pool.cached(key) if pool is not None else None
    if blob is not None:
        return safetensors.numpy.load(blob)
    constant = np.concatenate([x for x, _ in tasks]).std(axis=0) < CONSTANT
    # It is small; a GPU is left to the models that are trained.
    with tf.device("CPU"):
        weights = pretrained_weights(tasks, constant)
    if pool is not None:
        pool.keep(key, safetensors.numpy.save(weights))
    return weights
