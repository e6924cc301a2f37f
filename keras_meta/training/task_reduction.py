"""How the losses of a meta-batch become one meta-loss."""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from keras_meta.training.cvar import CVaR
from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.huber import Huber
from keras_meta.training.median import Median
from keras_meta.training.trimmed_mean import TrimmedMean

Reduction: TypeAlias = str | Callable[[tf.Tensor], tf.Tensor]
# What each name stands for, with default arguments.
TASK_REDUCTIONS = {
    "mean": None,  # Needs no weights: `reduce_tasks` averages.
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "cvar": CVaR,
    "huber": Huber,
}


def checked_task_reduction(task_reduction):
    """Returns `task_reduction` if it is a known name or a callable.

    Raises:
        ValueError: otherwise.
    """
    if isinstance(task_reduction, str):
        valid = task_reduction in TASK_REDUCTIONS
    else:  # A class is callable, but makes an object instead of a meta-loss.
        valid = callable(task_reduction) and not isinstance(task_reduction, type)
    if not valid:
        raise ValueError(
            f"Argument `task_reduction` must be one of {list(TASK_REDUCTIONS)}, an "
            "object such as `keras_meta.training.TrimmedMean(0.1)`, or a function "
            "from losses float32 `(meta_batch_size,)` to a scalar. "
            f"Received: task_reduction={task_reduction!r}."
        )
    return task_reduction


def reduce_tasks(task_reduction, losses, gradients, replicas=ONE):
    """Combines the tasks' losses and gradients.

    Gradients are taken task by task (decision 2 of the design); the chain rule makes
    of them the gradient of any reduction: the sum over tasks of
    d reduction / d loss times the task's gradient.

    A task whose loss or gradient is NaN or infinite makes the result so with every
    named reduction, even where its weight is 0: the trainer refuses such a step.

    Args:
        task_reduction: name or callable.
        losses: float32 `(num_tasks,)`, of this replica's tasks: all of the meta-batch,
            if there is one replica.
        gradients: list of tensors `(num_tasks, ...)`.
        replicas: `Replicas`. Reductions other than the mean see the losses of all.

    Returns:
        Tuple `(meta_loss, meta_gradients)`, a scalar and a list: shares, whose sum
        over replicas is the result.
    """
    if isinstance(task_reduction, str):
        if task_reduction == "mean":
            return replicas.share(tf.reduce_mean(losses)), [
                replicas.share(tf.reduce_mean(g, axis=0)) for g in gradients
            ]
        task_reduction = TASK_REDUCTIONS[task_reduction]()
    losses = replicas.all(losses)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(losses)
        meta_loss = task_reduction(losses)
    weights = None
    if tf.is_tensor(meta_loss) and meta_loss.shape.rank == 0:
        weights = tape.gradient(meta_loss, losses)
    if weights is None:
        raise ValueError(
            "Argument `task_reduction` must return a scalar tensor that depends on the "
            "losses, made of TensorFlow or Keras operations. "
            f"Received: {meta_loss!r}."
        )
    weights = replicas.own(weights)
    return replicas.share(meta_loss), [
        tf.tensordot(tf.cast(weights, g.dtype), g, axes=1) for g in gradients
    ]
