"""Which examples of its set each inner step sees."""

import math

import tensorflow as tf

from keras_meta.tasks import counter_random

# Task distributions draw from the streams of small numbers.
STREAM = 1_000


def inner_batches(seed, num_examples, batch_size, num_steps):
    """Draws mini-batches: whole passes over the set, each in a new random order.

    As in the code of Nichol et al. 2018 (arXiv:1803.02999), a batch may hold the end
    of one pass and the start of the next.

    Args:
        seed: int64 `(2,)`, the task's.
        num_examples: int >= 1, the set's size.
        batch_size: int >= 1, or None for the whole set.
        num_steps: int >= 1.

    Returns:
        int64 `(num_steps, batch_size)`, positions in the set; None if every step
        sees the whole set.
    """
    if batch_size is None or batch_size >= num_examples:
        return None
    passes = math.ceil(num_steps * batch_size / num_examples)
    draws = counter_random.bits(seed, (passes, num_examples), stream=STREAM)
    order = counter_random.choose_from_bits(draws, num_examples)
    order = tf.reshape(order, (passes * num_examples,))
    return tf.reshape(order[: num_steps * batch_size], (num_steps, batch_size))
