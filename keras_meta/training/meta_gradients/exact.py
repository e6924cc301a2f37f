"""The exact meta-gradient, through every inner step (Finn et al. 2017)."""

import tensorflow as tf


def meta_gradient(task, outer, others, num_steps, hold_inner_gradients=False):
    """Adapts to one task and differentiates its query loss, second order included.

    Args:
        task: `TaskRun`.
        outer: list of tensors, what is meta-learned.
        others: list of tensors, the model's non-trainable values.
        num_steps: int >= 1.
        hold_inner_gradients: bool. True takes the inner gradients for constants.

    Returns:
        Tuple `(loss, y_pred, gradients)`: float32 scalar, the query loss after
        adaptation (or, with a multi-step loss, the weighted sum of those after each
        step); the query predictions; a list of tensors shaped as `outer`.
    """
    weights = task.step_weights
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(outer)
        theta, parameters = task.unpack(outer)
        parameters, others, history = task.inner_loop.run(
            theta,
            parameters,
            others,
            task.episode.support_x,
            task.episode.support_y,
            num_steps,
            batches=task.batches(task.episode.support_x, num_steps),
            after_step=None if weights is None else task.query_losses,
            observe_start=False,
            hold_gradients=hold_inner_gradients,
        )
        loss, y_pred = task.query_loss(parameters, others)
        if weights is not None:
            loss = tf.reduce_sum(weights * history["loss"])
    gradients = tape.gradient(
        loss, outer, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    # An embedding's are sparse (`tf.IndexedSlices`).
    return loss, y_pred, [tf.convert_to_tensor(g) for g in gradients]
