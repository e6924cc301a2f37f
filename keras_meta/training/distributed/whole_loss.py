"""A task's loss is its own, however many replicas there are."""

import contextlib

import tensorflow as tf
from keras.src.losses import loss as keras_loss


@contextlib.contextmanager
def whole_losses():
    """Keeps Keras, within, from dividing mean losses by the number of replicas.

    In the scope of a strategy Keras does so to mean losses and to regularisers, and
    not to sums and to functions that return a scalar: nothing that one could undo
    afterwards. Its gradients are summed over replicas; the trainer's are averaged.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        yield
        return
    divide = keras_loss.scale_loss_for_distribution
    keras_loss.scale_loss_for_distribution = _unchanged
    try:
        yield
    finally:
        keras_loss.scale_loss_for_distribution = divide


def _unchanged(loss):
    return loss
