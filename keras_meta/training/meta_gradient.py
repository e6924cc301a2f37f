"""The gradient of a task's loss after adaptation, with respect to what is learned."""

import tensorflow as tf

META_GRADIENTS = ("exact", "first_order")


def task_meta_gradient(inner_loop, outer, unpack, episode, others, num_steps):
    """Adapts to one task and differentiates its query loss.

    `"exact"` differentiates through every inner step (second derivatives);
    `"first_order"` is the same with the inner gradients held constant, which for a
    learned initialisation is the gradient at the adapted parameters (FOMAML), and for
    learned rates the product of query and support gradients.

    Args:
        inner_loop: `InnerLoop`.
        outer: list of tensors, what is meta-learned.
        unpack: function from `outer` to `(theta, parameters)`.
        episode: `Episode` of tensors, one task's.
        others: list of tensors, the model's non-trainable values.
        num_steps: int >= 1.

    Returns:
        Tuple `(loss, y_pred, gradients)`: a float32 scalar, the query predictions,
        and a list of tensors shaped as `outer`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(outer)
        theta, parameters = unpack(outer)
        parameters, others, _ = inner_loop.run(
            theta, parameters, others, episode.support_x, episode.support_y, num_steps
        )
        loss, y_pred, _ = inner_loop.task_model.loss(
            parameters, others, episode.query_x, episode.query_y, True
        )
    gradients = tape.gradient(
        loss, outer, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return loss, y_pred, gradients
