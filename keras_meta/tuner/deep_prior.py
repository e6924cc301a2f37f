"""A Gaussian process whose mean and kernel are networks pretrained on past tasks."""

import numpy as np
import tensorflow as tf

from keras_meta.tuner.gaussian_process import matern52
from keras_meta.tuner.past_tasks import LONG, normalised

HIDDEN = 32
FEATURES = 4
STEPS = 1500
STEPS_AT_ONCE = 50
TASKS_A_STEP = 8
TRIALS_A_STEP = 50
RATE, LAST_RATE = 3e-3, 3e-4
OFFSET_PRECISION = 4.0  # of a task's own level of normalised scores
MIN_NOISE = 1e-4


class DeepPrior:
    """Prior mean and kernel of a task's normalised scores, learned over past tasks.

    Two layers of `HIDDEN` tanh units feed a linear mean and `FEATURES` features; the
    kernel is a Matern-5/2 on the features plus an ARD Matern-5/2 on the coordinates.
    All weights maximise the past tasks' marginal likelihoods (HyperBO: Wang et al.
    2024, arXiv:2109.08215; the features as in FSBO: Wistuba & Grabocka 2021,
    arXiv:2101.07667).

    Args:
        weights: dict of float arrays, as `pretrained_weights` returns.
    """

    def __init__(self, weights):
        self.weights = {name: np.asarray(w, float) for name, w in weights.items()}

    @property
    def feature_variance(self):
        return np.exp(self.weights["feature_amplitude"])

    def outputs(self, x):
        """Returns mean `(n,)` and scaled features `(n, FEATURES)` at points."""
        w = self.weights
        hidden = np.tanh((2.0 * x - 1.0) @ w["kernel_1"] + w["bias_1"])
        hidden = np.tanh(hidden @ w["kernel_2"] + w["bias_2"])
        features = (hidden @ w["feature_kernel"] + w["feature_bias"]) / np.exp(
            w["feature_lengths"]
        )
        return (hidden @ w["mean_kernel"])[:, 0] + w["mean_bias"][0], features

    def covariance(self, features, others):
        """Returns that of the features' part, `(n, m)`."""
        return self.feature_variance * matern52(features, others)


def pretrained_weights(tasks, constant, seed=0, steps=STEPS):
    """Trains the prior on past tasks.

    Args:
        tasks: list of `(x, y)`, see `PastTasks`.
        constant: bool `(d,)`, the coordinates that never varied.
        seed: int.
        steps: int, of Adam.

    Returns:
        Dict of float32 arrays.
    """
    generator = np.random.default_rng([seed, 1])
    dimensions = tasks[0][0].shape[1]
    longest = max(len(x) for x, _ in tasks)
    count = np.array([len(x) for x, _ in tasks])
    x = np.zeros((len(tasks), longest, dimensions), "float32")
    y = np.zeros((len(tasks), longest), "float32")
    for index, (points, scores) in enumerate(tasks):
        x[index, : count[index]], y[index, : count[index]] = points, normalised(scores)
    names, variables = zip(*_initial(generator, dimensions).items(), strict=True)
    variables = [tf.Variable(value) for value in variables]
    moments = [[tf.Variable(tf.zeros_like(v)) for v in variables] for _ in range(2)]
    x, y = tf.constant(x), tf.constant(y)

    def one_step(step, tasks, rows, mask):
        with tf.GradientTape() as tape:
            weights = dict(zip(names, variables, strict=True))
            points = tf.gather(tf.gather(x, tasks), rows, batch_dims=1)
            scores = tf.gather(tf.gather(y, tasks), rows, batch_dims=1)
            loss = _mean_nll(weights, points, scores, mask)
        gradients = tape.gradient(loss, variables)
        t = tf.cast(step, "float32") + 1.0
        rate = RATE + (LAST_RATE - RATE) * t / steps
        for v, m, s, g in zip(variables, *moments, gradients, strict=True):
            m.assign(0.9 * m + 0.1 * g)
            s.assign(0.999 * s + 0.001 * g * g)
            size = tf.sqrt(s / (1.0 - 0.999**t)) + 1e-8
            v.assign_sub(rate * m / (1.0 - 0.9**t) / size)

    @tf.function(autograph=False)
    def run(first, tasks, rows, masks):
        def body(i):
            with tf.control_dependencies([i]):
                one_step(first + i, tasks[i], rows[i], masks[i])
            return i + 1

        tf.while_loop(
            lambda i: i < tf.shape(tasks)[0], lambda i: [body(i)], [tf.constant(0)]
        )

    for first in range(0, steps, STEPS_AT_ONCE):
        drawn = [
            _draw(generator, count) for _ in range(min(STEPS_AT_ONCE, steps - first))
        ]
        tasks, rows, masks = (np.stack(part) for part in zip(*drawn, strict=True))
        run(tf.constant(first), *map(tf.constant, (tasks, rows, masks)))
    weights = {n: np.asarray(v.numpy()) for n, v in zip(names, variables, strict=True)}
    # Of what never varied nothing was learned: what it drew at random is taken out.
    weights["kernel_1"][constant] = 0.0
    weights["lengths"][constant] = LONG
    return weights


def _draw(generator, count):
    """Returns a meta-batch: tasks `(t,)`, rows `(t, n)`, mask float32 `(t, n)`."""
    tasks = generator.permutation(len(count))[:TASKS_A_STEP]
    width = min(TRIALS_A_STEP, count.max())
    rows = np.zeros((len(tasks), width), "int32")
    mask = np.zeros((len(tasks), width), "float32")
    for index, task in enumerate(tasks):
        chosen = generator.permutation(count[task])[:width]
        rows[index, : len(chosen)], mask[index, : len(chosen)] = chosen, 1.0
    return tasks.astype("int32"), rows, mask


def _initial(generator, dimensions):
    def kernel(inputs, outputs):
        drawn = generator.normal(0.0, inputs**-0.5, (inputs, outputs))
        return drawn.astype("float32")

    def constant(value, size=()):
        return np.full(size, value, "float32")

    return {
        "kernel_1": kernel(dimensions, HIDDEN),
        "bias_1": constant(0.0, HIDDEN),
        "kernel_2": kernel(HIDDEN, HIDDEN),
        "bias_2": constant(0.0, HIDDEN),
        "feature_kernel": kernel(HIDDEN, FEATURES),
        "feature_bias": constant(0.0, FEATURES),
        "mean_kernel": kernel(HIDDEN, 1),
        "mean_bias": constant(0.0, 1),
        "feature_lengths": constant(0.0, FEATURES),
        "lengths": constant(np.log(0.6), dimensions),
        "feature_amplitude": constant(-0.7),
        "amplitude": constant(-1.0),
        "noise": constant(-3.0),
    }


def _mean_nll(w, x, y, mask):
    """Mean negative log marginal likelihood a trial, offsets integrated out."""
    hidden = tf.tanh((2.0 * x - 1.0) @ w["kernel_1"] + w["bias_1"])
    hidden = tf.tanh(hidden @ w["kernel_2"] + w["bias_2"])
    features = (hidden @ w["feature_kernel"] + w["feature_bias"]) / tf.exp(
        w["feature_lengths"]
    )
    mean = (hidden @ w["mean_kernel"])[..., 0] + w["mean_bias"][0]
    covariance = tf.exp(w["feature_amplitude"]) * _matern52(features)
    covariance += tf.exp(w["amplitude"]) * _matern52(x / tf.exp(w["lengths"]))
    # Trials that are not there: independent, of variance 1 and without residual.
    covariance *= mask[:, :, None] * mask[:, None, :]
    noise = tf.exp(w["noise"]) + MIN_NOISE
    factor = tf.linalg.cholesky(
        covariance + tf.linalg.diag(mask * noise + (1.0 - mask))
    )
    columns = tf.stack([(y - mean) * mask, mask], axis=-1)
    solved = tf.linalg.triangular_solve(factor, columns)
    residual, one = solved[..., 0], solved[..., 1]
    precision = tf.reduce_sum(one * one, axis=1) + OFFSET_PRECISION
    shift = tf.reduce_sum(one * residual, axis=1) / precision
    nll = 0.5 * (tf.reduce_sum(residual**2, axis=1) - shift**2 * precision)
    nll += tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), axis=1)
    nll += 0.5 * tf.math.log(precision)
    return tf.reduce_mean(nll / tf.reduce_sum(mask, axis=1))


def _matern52(x):
    squares = tf.reduce_sum((x[:, :, None] - x[:, None]) ** 2, axis=-1)
    r = tf.sqrt(5.0 * tf.maximum(squares, 1e-12))
    return (1.0 + r + r * r / 3.0) * tf.exp(-r)
