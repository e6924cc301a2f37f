"""How the losses of a meta-batch become one meta-loss."""

import tensorflow as tf

TASK_REDUCTIONS = {"mean": tf.reduce_mean}


def check_task_reduction(task_reduction):
    """Raises ValueError unless it is a known name or a callable."""
    named = isinstance(task_reduction, str) and task_reduction in TASK_REDUCTIONS
    if not named and not callable(task_reduction):
        raise ValueError(
            f"Argument `task_reduction` must be one of {sorted(TASK_REDUCTIONS)} or a "
            "callable from losses float32 `(meta_batch_size,)` to a scalar. "
            f"Received: task_reduction={task_reduction!r}."
        )


def reduce_tasks(task_reduction, losses, gradients):
    """Combines the tasks' losses and gradients.

    Gradients are taken task by task (decision 2 of the design); the chain rule makes
    of them the gradient of any reduction: the sum over tasks of
    d reduction / d loss times the task's gradient.

    Args:
        task_reduction: name or callable.
        losses: float32 `(meta_batch_size,)`.
        gradients: list of tensors `(meta_batch_size, ...)`.

    Returns:
        Tuple `(meta_loss, meta_gradients)`, a scalar and a list.
    """
    if task_reduction == "mean":
        return tf.reduce_mean(losses), [tf.reduce_mean(g, axis=0) for g in gradients]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(losses)
        meta_loss = task_reduction(losses)
    weights = tape.gradient(meta_loss, losses)
    return meta_loss, [
        tf.tensordot(tf.cast(weights, g.dtype), g, axes=1) for g in gradients
    ]
