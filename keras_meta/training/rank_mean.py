"""The mean of the losses whose ranks lie in an interval."""

import numpy as np
import tensorflow as tf


def rank_mean(losses, low, high):
    """Returns the mean over [low, high] of the sorted losses, drawn as a step curve.

    The smallest loss lies on [0, 1], the next on [1, 2], the largest on
    [num_tasks - 1, num_tasks]. A loss weighs as much as its step overlaps the
    interval, so a bound that is not whole takes a part of the loss that it cuts. The
    weights depend on the order alone: they are the gradient wherever no two losses
    are equal; among equal losses the one with the smaller index ranks first.

    Every loss is a term of the sum, the unweighted ones times 0: if one is NaN or
    infinite, so is the result.

    Args:
        losses: float32 `(num_tasks,)`.
        low: number in [0, high).
        high: number in (low, num_tasks].

    Returns:
        float32 scalar.
    """
    steps = np.arange(losses.shape[0])
    overlap = np.minimum(high, steps + 1) - np.maximum(low, steps)
    weight_of_rank = np.maximum(overlap, 0.0) / (high - low)
    # A sort by comparison is undefined on NaN.
    sortable = tf.where(tf.math.is_nan(losses), np.inf, losses)
    ranks = tf.argsort(tf.argsort(sortable, stable=True))
    weights = tf.gather(tf.constant(weight_of_rank, losses.dtype), ranks)
    return tf.reduce_sum(weights * losses)


def check_losses(losses):
    """Returns the number of tasks.

    Args:
        losses: tensor of shape `(num_tasks,)`.

    Raises:
        ValueError: if it has another number of axes, or their length is not known
            when traced.
    """
    if losses.shape.rank != 1 or not losses.shape[0]:
        raise ValueError(
            "A task reduction needs losses of a shape (num_tasks,) that is known when "
            f"it is traced, num_tasks >= 1. Received: losses.shape={losses.shape}."
        )
    return losses.shape[0]
