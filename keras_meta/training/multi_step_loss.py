"""MAML++'s multi-step loss: the query loss after every inner step counts.

Antoniou, Edwards & Storkey 2019, "How to train your MAML", arXiv:1810.09502,
section 4, "multi-step loss optimization".
"""

import numbers

import numpy as np
import tensorflow as tf

# Where annealing ends, the steps before the last still share this weight in all,
# as in the paper's code: 0.03 / num_steps each.
LEAST_WEIGHT = 0.03


def check_multi_step_loss(multi_step_loss, inner_steps):
    """Raises ValueError unless it is None, an int >= 1, or one weight a step.

    Args:
        multi_step_loss: as in `MetaTrainer`.
        inner_steps: int >= 1.
    """
    if multi_step_loss is None:
        return
    if isinstance(multi_step_loss, (list, tuple)):
        weights = np.asarray(multi_step_loss, dtype="float64")
        usable = np.isfinite(weights).all() and (weights >= 0.0).all()
        if weights.shape == (inner_steps,) and usable and weights.sum() > 0.0:
            return
    elif isinstance(multi_step_loss, numbers.Integral) and multi_step_loss >= 1:
        if not isinstance(multi_step_loss, bool):
            return
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
    last has the rest, so that they always add up to 1.

    Args:
        multi_step_loss: int, list of float or None, as in `MetaTrainer`.
        inner_steps: int >= 1.
        meta_step: int64 scalar, how many meta-steps were taken.

    Returns:
        float32 `(inner_steps,)`; None for the loss after the last step alone.
    """
    if multi_step_loss is None:
        return None
    if isinstance(multi_step_loss, (list, tuple)):
        return tf.constant(multi_step_loss, "float32")
    share = tf.cast(meta_step, "float32") / multi_step_loss
    earlier = tf.maximum(1.0 - share, LEAST_WEIGHT) / inner_steps
    last = 1.0 - (inner_steps - 1) * earlier
    return tf.concat([tf.fill((inner_steps - 1,), earlier), last[tf.newaxis]], axis=0)
