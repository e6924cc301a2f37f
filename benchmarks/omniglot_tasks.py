"""Omniglot episodes whose training images are moved a little."""

import functools
import math

import numpy as np
import tensorflow as tf
from keras import ops

from keras_meta.tasks import Episode, TaskDistribution, counter_random

SIDE = 28
# Half-widths of uniform draws: radians, pixels, logarithm of the scale, and shear.
# An image moves a little inside its class; a class as a whole moves a lot, and is
# another class then, as it is where it is turned by 90 degrees.
OF_IMAGE = (0.25, 2.0, 2.0, 0.12, 0.12, 0.15)
OF_CLASS = (math.pi, 0.0, 0.0, 0.3, 0.3, 0.4)
STREAM = 17  # not those of the tasks inside


def transforms(draws):
    """Returns affine maps from places in the output to places in the input.

    Args:
        draws: float32 `(..., 6)`: turn, shift down, shift right, logarithms of height
            and width, shear.

    Returns:
        float32 `(..., 3, 3)`, of homogeneous coordinates (x, y, 1) around the middle.
    """
    turn, down, right, log_height, log_width, shear = tf.unstack(draws, axis=-1)
    width, height = tf.exp(log_width), tf.exp(log_height)
    cos, sin = tf.cos(turn), tf.sin(turn)
    zero, one = tf.zeros_like(turn), tf.ones_like(turn)
    rows = [
        tf.stack([width * cos, width * (shear * cos - sin), right], axis=-1),
        tf.stack([height * sin, height * (shear * sin + cos), down], axis=-1),
        tf.stack([zero, zero, one], axis=-1),
    ]
    return tf.stack(rows, axis=-2)


def moved(images, maps):
    """Returns images `(num_images, 28, 28, 1)`, float32, moved by `transforms()`."""
    middle = (SIDE - 1) / 2
    flat = tf.reshape(maps, (-1, 9))
    a, b, right, d, e, down = (flat[:, i] for i in range(6))
    c = middle - (a + b) * middle + right
    f = middle - (d + e) * middle + down
    zero = tf.zeros_like(a)
    vectors = tf.stack([a, b, c, d, e, f, zero, zero], axis=1)
    return ops.image.affine_transform(images, vectors, data_format="channels_last")


class MovedImages(TaskDistribution):
    """Few-shot tasks whose classes, and images inside them, are moved at random.

    Args:
        tasks: `FewShotClassification` of 28x28 images.
        share: float in [0, 1], of the classes that are moved as a whole; images of
            every class are moved a little.
    """

    def __init__(self, tasks, share):
        self.tasks = tasks
        self.ways = tasks.ways
        self.share = share

    def sample(self, seed):
        """Returns the episode of `seed`, with moved images."""
        episode = self.tasks.sample(seed)
        images = tf.concat([episode.support_x, episode.query_x], axis=0)
        labels = tf.concat([episode.support_y, episode.query_y], axis=0)
        draw = functools.partial(counter_random.uniform, seed, low=-1.0)
        of_image = draw((images.shape[0], 6), stream=STREAM) * np.float32(OF_IMAGE)
        of_class = draw((self.ways, 6), stream=STREAM + 1) * np.float32(OF_CLASS)
        chosen = counter_random.uniform(seed, (self.ways, 1), stream=STREAM + 2)
        of_class = tf.where(chosen < self.share, of_class, tf.zeros_like(of_class))
        maps = transforms(of_image) @ tf.gather(transforms(of_class), labels)
        images = moved(images, maps)
        count = episode.support_y.shape[0]
        return Episode(
            images[:count], episode.support_y, images[count:], episode.query_y
        )

    def describe(self):
        """Returns JSON-able facts: those of the tasks inside, and what moves."""
        return self.tasks.describe() | {
            "moved": {
                "of_image": list(OF_IMAGE),
                "of_class": list(OF_CLASS),
                "share": self.share,
            }
        }
