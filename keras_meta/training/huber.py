"""Huber's estimate of the typical loss as the meta-objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta.training.median import Median
from keras_meta.training.trainer_settings import checked_number

if TYPE_CHECKING:
    from typing_extensions import Self


# Of the median absolute deviation of normal values to their standard deviation.
MAD_TO_STDDEV = 1.4826
NUM_ITERATIONS = 30


@keras.saving.register_keras_serializable("keras_meta")
class Huber:
    """Huber's M-estimate of location of the losses; `task_reduction="huber"`.

    The location m of losses l_i that solves `sum_i psi((l_i - m) / s) = 0`, with
    `psi(r) = clip(r, -threshold, threshold)` (Huber 1964, "Robust estimation of a
    location parameter", Annals of Mathematical Statistics 35(1), section 1) and the
    scale `s = 1.4826 * median |l_i - median(l)|`. It is found by 30 steps of the
    winsorized mean, `m <- mean(clip(l, m - threshold * s, m + threshold * s))`, from
    the median: at the default threshold that is within about 1e-4 s of the solution,
    below about 0.7 the solution can be an interval. No share is to be chosen: if the
    losses are about normal, most tasks count, and up to half of the tasks may be
    outliers of any size. Where clean losses are skewed, the hardest clean tasks do not
    count either.

    The meta-gradient is that of the implicit function theorem with s held constant:
    the mean over the tasks within `threshold * s` of m, nothing of the tasks outside.
    If more than half of the losses are equal, s is 0: m is the median, and the tasks
    with exactly that loss count. If no task is within (few tasks, a small threshold),
    the gradient is the median's. With one or two tasks the default is the mean.

    Args:
        threshold: float > 0, in units of s. Larger is closer to the mean, smaller to
            the median. Default 1.345, with 95 % of the mean's efficiency on normal
            losses.

    Raises:
        ValueError: if `threshold` is not positive and finite.

    Example:

    >>> import keras_meta, tensorflow as tf
    >>> huber = keras_meta.training.Huber()
    >>> round(float(huber(tf.constant([1.0, 900.0, 2.0, 4.0]))), 2)
    3.33
    """

    def __init__(self, threshold: float = 1.345) -> None:
        self.threshold = checked_number(
            "threshold",
            threshold,
            lambda value: 0.0 < value < float("inf"),
            "> 0 and finite",
        )

    def __call__(self, losses: tf.Tensor) -> tf.Tensor:
        """Returns the location of losses, float32 `(num_tasks,)`, as a scalar."""

        @tf.custom_gradient
        def location(losses):
            value, weights = _location(losses, self.threshold)
            return value, lambda upstream: upstream * weights

        return location(losses)

    def get_config(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def _location(losses, threshold):
    """Returns the location, a scalar, and its gradient, `(num_tasks,)`."""
    median, median_weights = _median(losses)
    deviation, _ = _median(tf.abs(losses - median))
    reach = threshold * MAD_TO_STDDEV * deviation

    def winsorize(value, step):
        # As a change of the value: exactly 0 where `reach` is.
        change = tf.reduce_mean(tf.clip_by_value(losses - value, -reach, reach))
        return value + change, step + 1

    value, _ = tf.while_loop(
        lambda value, step: step < NUM_ITERATIONS, winsorize, (median, 0)
    )
    within = tf.cast(tf.abs(losses - value) <= reach, losses.dtype)
    count = tf.reduce_sum(within)
    weights = within / tf.maximum(count, 1.0)
    return value, tf.where(count > 0.0, weights, median_weights)


def _median(values):
    """Returns the median and its gradient."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        median = Median()(values)
    return median, tape.gradient(median, values)
