"""What a learned optimizer is to make small: a number out of a run's losses."""

import tensorflow as tf

# Losses below count as this in their logarithm.
SMALLEST = 1e-8


def mean(losses):
    """Returns the mean of the losses (Andrychowicz et al. 2016, equation 3)."""
    return tf.reduce_mean(losses, axis=0)


def mean_log(losses):
    """Returns the mean logarithm: every halving counts alike, on every problem."""
    return tf.reduce_mean(tf.math.log(tf.maximum(losses, SMALLEST)), axis=0)


META_OBJECTIVES = {"mean": mean, "log": mean_log}


def value_and_weights(objective, losses):
    """Returns the objective of each run, and its derivatives by the losses.

    Args:
        objective: function, a value of `META_OBJECTIVES`.
        losses: float32 `(steps, num_runs)`.

    Returns:
        Tuple of float32 `(num_runs,)` and `(steps, num_runs)`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(losses)
        values = objective(losses)
    return values, tape.gradient(values, losses)
