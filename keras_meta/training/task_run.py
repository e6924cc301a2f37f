"""One task, as the meta-gradient rules see it."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_meta.tasks.task import Episode
from keras_meta.training.inner_batches import inner_batches
from keras_meta.training.inner_loop import InnerLoop


@dataclasses.dataclass(frozen=True)
class TaskRun:
    """A task's data and what it takes to adapt to it.

    Attributes:
        inner_loop: `InnerLoop`.
        unpack: function from the outer tensors to `(theta, parameters)`.
        episode: `Episode` of tensors.
        seed: int64 `(2,)`.
        inner_batch_size: int >= 1, or None for the whole set in every step.
        step_weights: float32 `(num_steps,)` of a multi-step loss, or None.
    """

    inner_loop: InnerLoop
    unpack: Callable
    episode: Episode
    seed: tf.Tensor
    inner_batch_size: int | None = None
    step_weights: tf.Tensor | None = None

    def batches(self, x, num_steps):
        """Returns which examples of the set `x` each step sees; None for all."""
        count = tf.nest.flatten(x)[0].shape[0]
        return inner_batches(self.seed, count, self.inner_batch_size, num_steps)

    def query_loss(self, parameters, others, training=True):
        """Returns `(loss, y_pred)` of the query set, a float32 scalar and a nest."""
        loss, y_pred, _ = self.inner_loop.task_model.loss(
            parameters, others, self.episode.query_x, self.episode.query_y, training
        )
        return loss, y_pred

    def query_losses(self, parameters, others):
        """Returns `{"loss": float32 scalar}` of the query set."""
        return {"loss": self.query_loss(parameters, others)[0]}
