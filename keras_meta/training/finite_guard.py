"""Keeps a meta-step that is not finite away from the weights."""

import tensorflow as tf


def all_finite(tensors):
    """Returns a bool scalar, whether every value is finite.

    Args:
        tensors: list of float tensors. Values whose sum exceeds float32 count as
            infinite.
    """
    sums = [tf.cast(tf.reduce_sum(tensor), "float32") for tensor in tensors]
    return tf.reduce_all(tf.math.is_finite(tf.stack(sums)))


def first_bad_task(losses, gradients, seeds):
    """Returns the number of the first task that is not finite, -1 if all are.

    Args:
        losses: float32 `(num_tasks,)`.
        gradients: list of tensors `(num_tasks, ...)`.
        seeds: int64 `(num_tasks, 2)`.
    """
    bad = ~tf.math.is_finite(losses)
    for gradient in gradients:
        rows = tf.reshape(gradient, (tf.shape(gradient)[0], -1))
        bad |= ~tf.reduce_all(tf.math.is_finite(rows), axis=1)
    number = tf.gather(seeds[:, 1], tf.argmax(tf.cast(bad, "int32")))
    return tf.where(tf.reduce_any(bad), number, tf.constant(-1, "int64"))


def non_finite_message(trainer, step, task):
    """Returns what to tell a user.

    Args:
        trainer: `EpisodicModel`, whose `cures` say what else may help.
        step: int, the meta-step that was not finite.
        task: int, the number of the first task that was not, -1 if all were.
    """
    source = trainer.train_source
    if task < 0:
        culprit = "every task's gradient was finite, but the outer step overflowed"
    elif source.is_dataset:
        place = task % trainer.meta_batch_size
        culprit = (
            f"with the dataset's episode in place {place} of that step's meta-batch "
            f"(task {task} of the run)"
        )
    else:
        seed = [source.stream, task]
        culprit = (
            f"with the task of seed {tuple(seed)} (draw it again with `tasks.sample("
            f"tf.constant({seed}, 'int64'))`)"
        )
    return (
        "The meta-loss or its gradient became NaN or infinite at meta-step "
        f"{step}: {culprit}. The weights were not changed by that step, and the last "
        "checkpoint stays. Go on from there with a smaller outer learning rate, an "
        f"outer `clipnorm`, {trainer.cures}; and check that task's data."
    )
