"""Where runs of an optimizer stand, and what they went through."""

import typing

import tensorflow as tf


class Runs(typing.NamedTuple):
    """Where several runs of an optimizer stand; each tensor leads with `(num_runs,)`.

    Attributes:
        parameters: list of float32 tensors, the iterates.
        state: list of float32 tensors, the rule's state, flat.
        step: int32 `(num_runs,)`, steps taken.
        seed: int64 `(num_runs, 2)`, of the problem that a run is on.
    """

    parameters: list
    state: list
    step: tf.Tensor
    seed: tf.Tensor


class Trajectory(typing.NamedTuple):
    """What a forward unroll of K steps went through.

    Attributes:
        losses: float32 `(K + 1, num_runs)`, at the first iterate and after each step.
        parameters, gradients: lists of float32 `(K + 1, num_runs, ...)`.
        state: list of float32 `(K, num_runs, ...)`, before each step.
    """

    losses: tf.Tensor
    parameters: list
    gradients: list
    state: list
