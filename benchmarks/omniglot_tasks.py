"""Omniglot episodes whose training images are moved a little."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from keras_meta.tasks import Episode, TaskDistribution, counter_random

SIDE = 28
# Half-widths of uniform draws: radians, pixels, logarithm of the scale, and shear.
LARGEST_TURN = 0.25
LARGEST_SHIFT = 2.0
LARGEST_LOG_SCALE = 0.12
LARGEST_SHEAR = 0.15
DRAWS = 6
STREAM = 17  # not those of the tasks inside


def moved(images, draws):
    """Turns, shifts, scales and shears each image by itself.

    Args:
        images: float32 `(num_images, 28, 28, 1)`.
        draws: float32 `(num_images, 6)`, uniform in [-1, 1).

    Returns:
        float32 `(num_images, 28, 28, 1)`, between the pixels by bilinear
        interpolation.
    """
    turn, down, right, log_height, log_width, shear = tf.unstack(draws, axis=1)
    angle = LARGEST_TURN * turn
    width = tf.exp(LARGEST_LOG_SCALE * log_width)
    height = tf.exp(LARGEST_LOG_SCALE * log_height)
    slant = LARGEST_SHEAR * shear
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Output (x, y) shows input (a x + b y + c, d x + e y + f), around the middle.
    a, b = width * cos, width * (slant * cos - sin)
    d, e = height * sin, height * (slant * sin + cos)
    middle = (SIDE - 1) / 2
    c = middle - (a + b) * middle + LARGEST_SHIFT * right
    f = middle - (d + e) * middle + LARGEST_SHIFT * down
    zero = tf.zeros_like(a)
    transforms = tf.stack([a, b, c, d, e, f, zero, zero], axis=1)
    return ops.image.affine_transform(images, transforms, data_format="channels_last")


class MovedImages(TaskDistribution):
    """Few-shot tasks of which every image, support and query, is moved a little.

    Args:
        tasks: `FewShotClassification` of 28x28 images.
    """

    def __init__(self, tasks):
        self.tasks = tasks
        self.ways = tasks.ways

    def sample(self, seed):
        """Returns the episode of `seed`, with moved images."""
        episode = self.tasks.sample(seed)
        images = tf.concat([episode.support_x, episode.query_x], axis=0)
        count = episode.support_y.shape[0]
        draws = counter_random.uniform(
            seed, (images.shape[0], DRAWS), -1.0, 1.0, stream=STREAM
        )
        images = moved(images, draws)
        support, query = images[:count], images[count:]
        return Episode(support, episode.support_y, query, episode.query_y)

    def describe(self):
        """Returns JSON-able facts: those of the tasks inside, and what moves."""
        return self.tasks.describe() | {
            "moved": {
                "turn_degrees": math.degrees(LARGEST_TURN),
                "shift_pixels": LARGEST_SHIFT,
                "scale": float(np.exp(LARGEST_LOG_SCALE)),
                "shear": LARGEST_SHEAR,
            }
        }
