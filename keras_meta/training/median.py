"""The median task as the meta-objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_meta.training.rank_mean import check_losses, rank_mean

if TYPE_CHECKING:
    import tensorflow as tf
    from typing_extensions import Self


@keras.saving.register_keras_serializable("keras_meta")
class Median:
    """The median of the tasks' losses; `task_reduction="median"`.

    The meta-step is that of the task in the middle; with an even number of tasks, the
    mean of the two in the middle. Up to half of the tasks may be outliers of any size.
    In exchange most of a clean meta-batch is not used: its meta-gradient is noisier
    than the mean's, and where losses are skewed it favours the easier tasks. With one
    or two tasks it is the mean.

    Example:

    >>> import keras_meta, tensorflow as tf
    >>> median = keras_meta.training.Median()
    >>> float(median(tf.constant([1.0, 900.0, 2.0, 4.0])))
    3.0
    """

    def __call__(self, losses: tf.Tensor) -> tf.Tensor:
        """Returns the median of losses, float32 `(num_tasks,)`, as a scalar."""
        num_tasks = check_losses(losses)
        return rank_mean(losses, (num_tasks - 1) // 2, num_tasks // 2 + 1)

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
