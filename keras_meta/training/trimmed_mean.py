"""The mean of all tasks but the easiest and the hardest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_meta.training.median import Median
from keras_meta.training.rank_mean import check_losses, rank_mean
from keras_meta.training.trainer_settings import checked_number

if TYPE_CHECKING:
    import tensorflow as tf
    from typing_extensions import Self


@keras.saving.register_keras_serializable("keras_meta")
class TrimmedMean:
    """The mean of the losses between two quantiles; `task_reduction="trimmed_mean"`.

    Of n sorted losses, `fraction * n` are dropped at each end and the rest averaged.
    Where that number is not whole, the loss that the cut goes through keeps the part
    that is left of it (`scipy.stats.trim_mean` rounds down and would trim nothing of
    four tasks at 0.2). So something is trimmed from three tasks on; with one or two
    tasks any symmetric trimming is the mean. Outliers beyond `fraction * n` in one
    meta-batch get through: choose `fraction` above the share that you expect.

    Args:
        fraction: float in [0, 0.5), share of the tasks dropped at EACH end; 0 is the
            mean, towards 0.5 it becomes the median. Default 0.2.

    Raises:
        ValueError: if `fraction` is out of its range.

    Example:

    >>> import keras_meta, tensorflow as tf
    >>> trimmed = keras_meta.training.TrimmedMean(fraction=0.25)
    >>> float(trimmed(tf.constant([1.0, 900.0, 2.0, 4.0])))
    3.0
    """

    def __init__(self, fraction: float = 0.2) -> None:
        self.fraction = checked_number(
            "fraction", fraction, lambda value: 0.0 <= value < 0.5, "in [0, 0.5)"
        )

    def __call__(self, losses: tf.Tensor) -> tf.Tensor:
        """Returns the trimmed mean of losses, float32 `(num_tasks,)`, as a scalar."""
        num_tasks = check_losses(losses)
        # In floating point 0.1 * 30 exceeds 3; the excess would let an outlier in.
        cut = round(self.fraction * num_tasks, 9)
        if num_tasks - 2 * cut < 1e-6:
            return Median()(losses)
        return rank_mean(losses, cut, num_tasks - cut)

    def get_config(self) -> dict[str, Any]:
        return {"fraction": self.fraction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
