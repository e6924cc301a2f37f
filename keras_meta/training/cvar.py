"""The mean of the worst tasks as the meta-objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_meta.training.rank_mean import check_losses, rank_mean
from keras_meta.training.trainer_settings import checked_number

if TYPE_CHECKING:
    import tensorflow as tf
    from typing_extensions import Self


@keras.saving.register_keras_serializable("keras_meta")
class CVaR:
    """The conditional value at risk of the losses; `task_reduction="cvar"`.

    The mean of the worst `fraction` of the tasks (Rockafellar & Uryasev 2000,
    "Optimization of conditional value-at-risk", Journal of Risk 2(3), theorem 1, at
    level `1 - fraction`, for the tasks of the meta-batch). Where `fraction * n` of n
    tasks is not whole, the boundary task has a fractional weight, which is exact.

    It is for robustness to a shift towards hard tasks: it bounds the mean loss under
    any reweighting of the tasks by at most `1 / fraction`. It is the opposite of what
    outliers need: a task with wrong labels is the worst of its meta-batch, and CVaR
    trains on it. Against outliers use `Huber`, `Median` or `TrimmedMean`.

    Args:
        fraction: float in (0, 1], share of the tasks that count; 1 is the mean,
            1 / meta_batch_size or less the maximum. Default 0.5.

    Raises:
        ValueError: if `fraction` is out of its range.

    Example:

    >>> import keras_meta, tensorflow as tf
    >>> cvar = keras_meta.training.CVaR(fraction=0.5)
    >>> float(cvar(tf.constant([1.0, 8.0, 2.0, 4.0])))
    6.0
    """

    def __init__(self, fraction: float = 0.5) -> None:
        self.fraction = checked_number(
            "fraction", fraction, lambda value: 0.0 < value <= 1.0, "in (0, 1]"
        )

    def __call__(self, losses: tf.Tensor) -> tf.Tensor:
        """Returns the CVaR of losses, float32 `(num_tasks,)`, as a scalar."""
        num_tasks = check_losses(losses)
        # Below one task the tail is the worst one.
        worst = max(1.0, self.fraction * num_tasks)
        return rank_mean(losses, num_tasks - worst, num_tasks)

    def get_config(self) -> dict[str, Any]:
        return {"fraction": self.fraction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
