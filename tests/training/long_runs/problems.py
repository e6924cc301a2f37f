"""Small problems and rules whose meta-gradients are known."""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_meta import LearnedOptimizer
from keras_meta.tasks import OptimizationProblem, Problem

CURVATURE = np.array([1.0, 0.3], "float32")
START = np.array([1.0, -2.0], "float32")


class OneBowl(OptimizationProblem):
    """`0.5 sum(curvature * w^2)` from the same start, whatever the seed."""

    def sample(self, seed):
        return Problem((), [tf.constant(START)])

    def loss(self, data, parameters, seed):
        return 0.5 * tf.reduce_sum(CURVATURE * parameters[0] ** 2)


class Bowls(OptimizationProblem):
    """As `OneBowl`, scaled by one plus the task's number; `broken` numbers give NaN.

    Args:
        broken: int or None: from this number on.
        last: int, up to this number, not included.
    """

    def __init__(self, broken=None, last=10**9):
        self.broken = broken
        self.last = last

    def sample(self, seed):
        return Problem(seed[1], [tf.constant(START)])

    def loss(self, data, parameters, seed):
        loss = 0.5 * tf.reduce_sum(CURVATURE * parameters[0] ** 2)
        loss = (1.0 + tf.cast(data, "float32")) * loss
        if self.broken is not None:
            bad = (data >= self.broken) & (data < self.last)
            loss = tf.where(bad, float("nan"), 1.0) * loss
        return loss


class LearnedRate(LearnedOptimizer):
    """Gradient descent with momentum, both learned: theta is (rate, momentum)."""

    def initial_theta(self, shapes, seed):
        return {"pair": np.array([0.1, 0.5], "float32")}

    def initial_state(self, theta, parameters):
        return {"velocity": [ops.zeros_like(p) for p in parameters]}

    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
        rate, momentum = theta["pair"][0], theta["pair"][1]
        velocity = [
            momentum * v - learning_rate * rate * g
            for v, g in zip(state["velocity"], gradients, strict=True)
        ]
        new = [p + v for p, v in zip(parameters, velocity, strict=True)]
        return new, {"velocity": velocity}


def losses_by_hand(pair, num_steps, curvature=CURVATURE, start=START):
    """Returns the losses at the start and after each step, in float64."""
    rate, momentum = np.float64(pair)
    w, velocity = np.float64(start), np.zeros(2)
    losses = []
    for _ in range(num_steps + 1):
        losses.append(0.5 * np.sum(np.float64(curvature) * w**2))
        velocity = momentum * velocity - rate * curvature * w
        w = w + velocity
    return np.array(losses)


def true_gradient(num_steps, objective=np.mean, pair=(0.1, 0.5)):
    """Returns the meta-gradient of the whole run, by central differences."""
    gradient = []
    for index in range(2):
        values = []
        for sign in (1.0, -1.0):
            moved = np.array(pair)
            moved[index] += sign * 1e-5
            values.append(objective(losses_by_hand(moved, num_steps)[1:]))
        gradient.append((values[0] - values[1]) / 2e-5)
    return np.array(gradient)
