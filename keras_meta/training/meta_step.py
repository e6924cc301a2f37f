"""What one meta-step computes, before anything is changed."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class MetaStep:
    """The result of a meta-step on one meta-batch.

    Attributes:
        meta_loss: float32 scalar.
        gradients: list of tensors, shaped as what is learned.
        tracked: dict of `"loss"` and the metrics' names to float32 `(num_tasks,)`.
        statistics: list of tensors, new running statistics, `()` if none are kept.
        bad_task: function without arguments that returns the number of the first
            task that is not finite, -1 if none; for the case that one is not.
    """

    meta_loss: tf.Tensor
    gradients: list
    tracked: dict
    statistics: list
    bad_task: Callable
