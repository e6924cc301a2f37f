"""The meta-learned map from a tensor's statistics to the logarithm of its rate."""

import math

import numpy as np
from keras import ops

from keras_meta.optimizers import run_statistics, tensor_statistics

LARGEST_FACTOR = 10.0  # a rate is at most this far from Adam's, up or down
NAMES = (
    *tensor_statistics.DYNAMIC,
    *(f"model's {tensor_statistics.DYNAMIC[i]}" for i in tensor_statistics.POOLED),
    *tensor_statistics.STATIC,
    *run_statistics.TIME,
    *run_statistics.HORIZON,
    *run_statistics.LOSS,
    "one",
)


def zero_theta(units=0, mixing=False):
    """Returns the controller that leaves Adam alone: dict of float32 arrays.

    Args:
        units: int >= 0, of a hidden layer whose output is added to the linear map; its
            own weights are drawn (the same ones at each call), those of its output 0.
        mixing: bool, whether the controller mixes the gradient into the direction.
    """
    theta = {
        "rate": np.zeros(len(NAMES), "float32"),
        "decay": np.zeros((), "float32"),
    }
    if mixing:
        theta["mixing"] = np.zeros(len(NAMES), "float32")
    if units:
        drawn = np.random.default_rng(0).normal(size=(len(NAMES), units))
        theta["hidden/kernel"] = (drawn / math.sqrt(len(NAMES))).astype("float32")
        theta["hidden/bias"] = np.zeros(units, "float32")
        theta["hidden/rate"] = np.zeros(units, "float32")
    return theta


def check_theta(theta, units, mixing):
    """Raises ValueError unless `theta` is named and shaped as `zero_theta`'s."""
    expected = {k: a.shape for k, a in zero_theta(units, mixing).items()}
    received = {str(name): tuple(ops.shape(value)) for name, value in theta.items()}
    if received != expected:
        raise ValueError(
            f"These learned values belong to another controller. Received: {received}, "
            f"expected {expected}. Take one that was meta-trained with these "
            "`hidden_units` and `mixing`."
        )


def inputs(of_tensors, static, weights, of_run):
    """Returns the controller's inputs, float32 `(tensors, len(NAMES))`.

    Args:
        of_tensors: float32 `(tensors, len(DYNAMIC))`.
        static: float32 `(tensors, len(STATIC))`.
        weights: float32 `(tensors,)`, sum 1, for means over the model.
        of_run: list of float32 vectors: of time, horizon and loss.
    """
    pooled = ops.matmul(ops.transpose(of_tensors), weights)
    shared = ops.concatenate(
        [
            ops.take(pooled, np.asarray(tensor_statistics.POOLED), axis=0),
            *of_run,
            ops.ones((1,), "float32"),
        ]
    )
    number = static.shape[0]
    pooled_end = len(tensor_statistics.POOLED)
    wide = ops.broadcast_to(shared, (number, shared.shape[0]))
    return ops.concatenate(
        [of_tensors, wide[:, :pooled_end], static, wide[:, pooled_end:]], axis=1
    )


def log_rates(theta, statistics):
    """Returns the logarithm of each tensor's factor on Adam's rate: `(tensors,)`.

    `log 10 * tanh(y / log 10)`, never more than 10 times up or down, with
    `y = x . w + u . tanh(x K + b)`.
    """
    bound = math.log(LARGEST_FACTOR)
    value = ops.matmul(statistics, theta["rate"])
    if "hidden/rate" in theta:
        hidden = ops.matmul(statistics, theta["hidden/kernel"]) + theta["hidden/bias"]
        value = value + ops.matmul(ops.tanh(hidden), theta["hidden/rate"])
    return bound * ops.tanh(value / bound)


def mixtures(theta, statistics):
    """Returns the share of the gradient in each tensor's direction: `(tensors,)`.

    In (-0.5, 0.5); 0 is Adam's momentum.
    """
    return 0.5 * ops.tanh(ops.matmul(statistics, theta["mixing"]))


def log_decay(theta, count, horizon, known):
    """Returns the logarithm of `(1 - part done) ** decay`, 0 without a horizon.

    Args:
        theta: dict; `decay` counts as 0 where it is negative.
        count: float32 scalar, 1 at the first step.
        horizon: float32 scalar, steps of the whole run.
        known: float32 scalar, 1 or 0.
    """
    left = 1.0 - run_statistics.part_done(count, horizon)
    left = ops.maximum(left, 1.0 / (horizon + 1.0))
    return known * ops.maximum(theta["decay"], 0.0) * ops.log(left)
