"""Reptile: move the initialisation towards the adapted weights.

Nichol, Achiam & Schulman 2018, "On first-order meta-learning algorithms",
arXiv:1803.02999, algorithm 2.
"""

import tensorflow as tf


def meta_gradient(task, outer, others, num_steps):
    """Trains on all of a task's examples; the gradient is start minus end.

    Support and query are one training set here, as in the paper, which draws the
    inner batches from it. An outer `keras.optimizers.SGD(epsilon)` then takes the
    paper's step, `phi <- phi + epsilon * (W - phi)`.

    Args:
        task: `TaskRun`.
        outer: list of tensors, the initialisation.
        others: list of tensors, the model's non-trainable values.
        num_steps: int >= 1.

    Returns:
        Tuple `(loss, y_pred, gradients)`: float32 scalar, the loss of the query
        examples after training on them too; their predictions; and, shaped as
        `outer`, the initialisation minus the adapted weights.
    """
    episode = task.episode
    x, y = tf.nest.map_structure(
        lambda support, query: tf.concat([support, query], axis=0),
        (episode.support_x, episode.support_y),
        (episode.query_x, episode.query_y),
    )
    theta, parameters = task.unpack(outer)
    adapted, others, _ = task.inner_loop.run(
        theta, parameters, others, x, y, num_steps, batches=task.batches(x, num_steps)
    )
    loss, y_pred = task.query_loss(adapted, others)
    moved = [start - end for start, end in zip(parameters, adapted, strict=True)]
    return loss, y_pred, moved
