"""Loss curves of update rules on problems, and the best of a grid of rates."""

import contextlib
import functools

import numpy as np
import tensorflow as tf

from keras_meta.optimizers import SGD, Adam, RMSprop
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.runs import Runs
from keras_meta.training.meta_evaluation import FIRST_EVALUATION_STREAM

BASELINES = {
    "Adam": Adam,
    "RMSprop": RMSprop,
    "SGD": SGD,
    "SGD + momentum": functools.partial(SGD, momentum=0.9),
    "Nesterov": functools.partial(SGD, momentum=0.9, nesterov=True),
}
# Half-powers of ten from 1e-5 to 10.
RATES = tuple(float(f"{10.0 ** (power / 2):.1e}") for power in range(-10, 3))


def loss_curves(rule, problem, steps, episodes, seed=0, batch=32, rates=None):
    """Runs a rule on new problems, the same for all rules.

    Args:
        rule: `LearnedOptimizer`.
        problem: `OptimizationProblem`.
        steps: int >= 1.
        episodes: int >= 1, how many problems.
        seed: int; evaluation with the same seed has the same problems.
        batch: int, problems at once.
        rates: list of float or None: learning rates to run with, each on all problems.

    Returns:
        float32 array `(episodes, steps + 1)`; with `rates`,
        `(len(rates), episodes, steps + 1)`.
    """
    unroll = RuleUnroll(problem, rule, False)
    batch = min(batch, episodes)
    shapes = {f"parameter_{i}": s for i, s in enumerate(problem.parameter_shapes)}
    theta = rule.initial_theta(shapes, rule.seed)
    if rule.has_theta:
        theta = rule.theta_values()
    theta = {name: tf.constant(value) for name, value in theta.items()}
    stream = FIRST_EVALUATION_STREAM + seed

    @tf.function(autograph=False)
    def run(numbers):
        seeds = tf.stack([tf.fill((batch,), np.int64(stream)), numbers], axis=1)
        data, parameters = unroll.sampled(seeds)
        start = unroll.started(theta, parameters)
        runs = Runs(parameters, start, tf.zeros(batch, "int32"), seeds)
        losses, _ = unroll.forward(theta, data, runs, steps, keep=False)
        return tf.transpose(losses)

    # A concrete function: TensorFlow would warn of retracing, one rule after another.
    run = run.get_concrete_function(tf.TensorSpec((batch,), tf.int64))

    def curves():
        with _without_sums_in_place():
            parts = [
                run(tf.range(first, first + batch, dtype="int64")).numpy()
                for first in range(0, episodes, batch)
            ]
        return np.concatenate(parts)[:episodes]

    if rates is None:
        return curves()
    found = []
    for rate in rates:
        rule.learning_rate = rate
        found.append(curves())
    return np.stack(found)


@contextlib.contextmanager
def _without_sums_in_place():
    """Lets TensorFlow leave sums of several terms as they are.

    It would add them up in a temporary variable; in a loop, that of the last round is
    still there when the loop is run again, which fails (TensorFlow 2.21: "Resource
    ... tmp_var ... AlreadyExistsError", a two-layer network under Nesterov's rule).
    """
    options = tf.config.optimizer
    before = options.get_experimental_options().get("arithmetic_optimization", True)
    options.set_experimental_options({"arithmetic_optimization": False})
    try:
        yield
    finally:
        options.set_experimental_options({"arithmetic_optimization": before})


def best_of_rates(curves, rates, last):
    """Returns the curves of the rate with the least mean loss of the last steps.

    Args:
        curves: float array `(len(rates), episodes, steps + 1)`.
        rates: list of float.
        last: int >= 1, how many of the last steps count.

    Returns:
        Tuple `(rate, curves)`: float and float array `(episodes, steps + 1)`.
    """
    ends = curves[:, :, -last:].mean(axis=(1, 2))
    best = int(np.argmin(np.where(np.isfinite(ends), ends, np.inf)))
    return rates[best], curves[best]
