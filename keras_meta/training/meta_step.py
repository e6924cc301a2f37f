"""What one meta-step computes, before anything is changed."""

import dataclasses
import functools
import typing
from collections.abc import Callable

import tensorflow as tf

from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.finite_guard import first_bad_task
from keras_meta.training.task_reduction import reduce_tasks


class TaskResults(typing.NamedTuple):
    """What tasks say, each by itself; all are tensors.

    Attributes:
        losses: float32 `(num_tasks,)`.
        gradients: list of tensors `(num_tasks, ...)`.
        tracked: dict of `"loss"` and the metrics' names to float32 `(num_tasks,)`.
        statistics: list of tensors `(num_tasks, ...)`, new running statistics.
        seeds: int64 `(num_tasks, 2)`.
        runs: list of tensors, where runs that go on stand now; `[]` for episodes.
    """

    losses: tf.Tensor
    gradients: list
    tracked: dict
    statistics: list
    seeds: tf.Tensor
    runs: list


@dataclasses.dataclass(frozen=True)
class MetaStep:
    """The result of a meta-step on one meta-batch, or one replica's share of it.

    The sum of the replicas' `meta_loss`, `gradients` and `statistics` is the
    meta-step's; the rest is about a replica's own tasks.

    Attributes:
        meta_loss: float32 scalar.
        gradients: list of tensors, shaped as what is learned.
        tracked: dict of `"loss"` and the metrics' names to float32 `(num_tasks,)`.
        statistics: list of tensors, new running statistics, `[]` if none are kept.
        runs: list of tensors, as in `TaskResults`.
        bad_task: function without arguments that returns the number of the first
            task that is not finite, -1 if none; for the case that one is not.
    """

    meta_loss: tf.Tensor
    gradients: list
    tracked: dict
    statistics: list
    runs: list
    bad_task: Callable

    def replaced(self, statistics):
        """Returns the same, with these statistics."""
        return dataclasses.replace(self, statistics=statistics)


def combined(task_reduction, results, replicas=ONE):
    """Returns the `MetaStep` of these tasks.

    Args:
        task_reduction: as in `MetaTrainer`.
        results: `TaskResults` of this replica's tasks.
        replicas: `Replicas`.
    """
    meta_loss, gradients = reduce_tasks(
        task_reduction, results.losses, results.gradients, replicas
    )
    return MetaStep(
        meta_loss,
        gradients,
        results.tracked,
        [replicas.share(tf.reduce_mean(v, axis=0)) for v in results.statistics],
        results.runs,
        functools.partial(
            first_bad_task, results.losses, results.gradients, results.seeds
        ),
    )
