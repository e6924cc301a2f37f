"""What a meta-gradient of long runs works on: the next K steps of several runs."""

import dataclasses
import typing
from collections.abc import Callable

import tensorflow as tf

from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.runs import Runs


@dataclasses.dataclass(frozen=True)
class Window:
    """The next steps of the runs of several tasks.

    Attributes:
        unroll: `RuleUnroll`.
        objective: function, a value of `META_OBJECTIVES`.
        theta: dict from name to tensor.
        data: nest of tensors with leading axis `(num_runs,)`, the runs' problems.
        runs: `Runs`; with two particles a task, all first ones, then all second ones.
        num_steps: int >= 1, the truncation.
        carried: list of tensors with leading axis `(num_tasks,)`.
        noise_seeds: int64 `(num_tasks, 2)`, others at each window.
    """

    unroll: RuleUnroll
    objective: Callable
    theta: dict
    data: typing.Any
    runs: Runs
    num_steps: int
    carried: list
    noise_seeds: tf.Tensor


class WindowResult(typing.NamedTuple):
    """What a window says.

    Attributes:
        values: float32 `(num_tasks,)`, the objective.
        gradients: dict from name to float32 `(num_tasks, ...)`.
        losses: float32 `(num_steps, num_tasks)`, after each step.
        runs: `Runs` after the window.
        carried: list of tensors with leading axis `(num_tasks,)`.
    """

    values: tf.Tensor
    gradients: dict
    losses: tf.Tensor
    runs: Runs
    carried: list
