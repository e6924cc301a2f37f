"""Antithetic perturbations of theta, one for each task."""

import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.training.trainer_settings import checked_number


def checked_sigma(sigma):
    """Returns `sigma` as a float if it is finite and > 0, else raises ValueError."""
    return checked_number(
        "sigma", sigma, lambda x: 0.0 < x < float("inf"), "finite and > 0"
    )


def drawn(theta, seeds, sigma):
    """Returns normal perturbations.

    Args:
        theta: dict from name to tensor.
        seeds: int64 `(num_tasks, 2)`.
        sigma: float, their standard deviation.

    Returns:
        Dict from name to float32 `(num_tasks, ...)`.
    """

    def of_task(seed):
        return {
            name: counter_random.normal(
                seed, tuple(value.shape), stddev=sigma, stream=index
            )
            for index, (name, value) in enumerate(theta.items())
        }

    return tf.vectorized_map(of_task, seeds)


def antithetic(theta, noise):
    """Returns theta plus the noise of each task, then theta minus it.

    Returns:
        Dict from name to float32 `(2 num_tasks, ...)`.
    """
    return {
        name: tf.concat([value + noise[name], value - noise[name]], axis=0)
        for name, value in theta.items()
    }


def estimate(values, noise, sigma):
    """Returns `(L(+) - L(-)) / (2 sigma^2) * noise` for each task.

    Args:
        values: float32 `(2 num_tasks,)`, objectives of the first and second particles.
        noise: dict from name to float32 `(num_tasks, ...)`.
        sigma: float.

    Returns:
        Dict from name to float32 `(num_tasks, ...)`.
    """
    first, second = tf.split(values, 2)
    slope = (first - second) / (2.0 * sigma**2)
    return {
        name: tf.reshape(slope, [-1, *[1] * (len(value.shape) - 1)]) * value
        for name, value in noise.items()
    }


def mean_of_pairs(values):
    """Returns the means of first and second particles, along the last axis."""
    first, second = tf.split(values, 2, axis=-1)
    return 0.5 * (first + second)
