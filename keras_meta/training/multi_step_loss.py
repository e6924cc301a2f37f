"""MAML++'s multi-step loss: the query loss after every inner step counts.

Antoniou, Edwards & Storkey 2019, "How to train your MAML", arXiv:1810.09502,
section 4, "multi-step loss optimization".
"""

import numbers

import tensorflow as tf

# While annealing, each step before the last keeps at least this part of its first
# weight, as in the paper's code.
LEAST_PART = 0.03


def checked_multi_step_loss(multi_step_loss, inner_steps):
    """Returns `multi_step_loss` as None, an int >= 1, or a list of one float a step.

    Args:
        multi_step_loss: as in `MetaTrainer`.
        inner_steps: int >= 1.

    Raises:
        ValueError: if it is none of these.
    """
    if multi_step_loss is None:
        return None
    if isinstance(multi_step_loss, (list, tuple)):
        are_weights = len(multi_step_loss) == inner_steps and all(
            isinstance(weight, numbers.Real) and 0.0 <= weight < float("inf")
            for weight in multi_step_loss
        )
        if are_weights and any(multi_step_loss):
            return [float(weight) for weight in multi_step_loss]
    elif isinstance(multi_step_loss, numbers.Integral) and multi_step_loss >= 1:
        if not isinstance(multi_step_loss, bool):
            return int(multi_step_loss)
    raise ValueError(
        "Argument `multi_step_loss` must be None, the number of meta-steps over which "
        f"the weights anneal, an integer >= 1, or a list of inner_steps={inner_steps} "
        "weights >= 0 that are not all 0. "
        f"Received: multi_step_loss={multi_step_loss!r}."
    )


def step_weights(multi_step_loss, inner_steps, meta_step):
    """Returns the weight of the query loss after each inner step.

    They start equal, `1 / inner_steps`. Annealed over M meta-steps, each but the last
    shrinks by `1 / (inner_steps * M)` a meta-step, down to `0.03 / inner_steps`; the
    last has the rest, so that they always add up to 1. From meta-step M on, the last
    counts alone.

    Args:
        multi_step_loss: int, list of float or None, as in `MetaTrainer`.
        inner_steps: int >= 1.
        meta_step: int64 scalar, how many meta-steps were taken.

    Returns:
        float32 `(inner_steps,)`; None for the loss after the last step alone.
    """
    if multi_step_loss is None:
        return None
    if isinstance(multi_step_loss, list):
        return tf.constant(multi_step_loss, "float32")
    share = tf.cast(meta_step, "float32") / multi_step_loss
    earlier = tf.maximum(1.0 - share, LEAST_PART) / inner_steps
    earlier = tf.where(share < 1.0, earlier, 0.0)
    last = 1.0 - (inner_steps - 1) * earlier
    return tf.concat([tf.fill((inner_steps - 1,), earlier), last[tf.newaxis]], axis=0)
