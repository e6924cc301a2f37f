"""What a compiled meta-step of a metric-based learner computes."""

import dataclasses
import functools

import tensorflow as tf

from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.meta_step import TaskResults, combined
from keras_meta.training.task_axis import map_tasks
from keras_meta.training.task_model import TaskModel


@dataclasses.dataclass(frozen=True)
class MetricEngine:
    """Classifies each task's queries by its support set, one task after another.

    Attributes:
        task_model: `TaskModel` around an `EpisodeClassifier`.
        ways: int >= 1, classes of an episode.
        task_reduction: as in `MetaTrainer`.
        metric_names: list of str.
    """

    task_model: TaskModel
    ways: int
    task_reduction: object
    metric_names: list
    is_vectorized = False

    def task_results(self, outer, episodes, seeds, step, replicas=ONE):
        """Compares and differentiates; see `TaskEngine.task_results`."""
        tracked, gradients, statistics = map_tasks(
            functools.partial(self._task_gradient, outer),
            (episodes, seeds),
            "sequential",
            (self._signature(), _specs(outer), _specs(self.task_model.kept_statistics)),
        )
        losses = tracked["loss"]
        return TaskResults(losses, gradients, tracked, statistics, seeds, [])

    def combined(self, results, replicas=ONE):
        """Returns the `MetaStep` of these `TaskResults`."""
        return combined(self.task_reduction, results, replicas)

    def history(self, outer, episodes, seeds, num_steps):
        """Returns loss and metrics of each task, `(num_tasks, 1)`.

        There is nothing to take steps with: `num_steps` is 0.
        """

        def judged(elements):
            episode, seed = elements
            return self._judged(outer, episode, seed, training=False)[0]

        values = map_tasks(judged, (episodes, seeds), "sequential", self._signature())
        return {name: value[:, tf.newaxis] for name, value in values.items()}

    def written(self, result, replicas=ONE):
        """Returns pairs `(variable, value)`: a meta-step's running statistics."""
        kept = self.task_model.kept_statistics
        return list(zip(kept, result.statistics, strict=True))

    def _signature(self):
        scalar = tf.TensorSpec((), tf.float32)
        return {name: scalar for name in ["loss", *self.metric_names]}

    def _task_gradient(self, outer, elements):
        episode, seed = elements
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(outer)
            tracked, others = self._judged(outer, episode, seed, training=True)
        gradients = tape.gradient(
            tracked["loss"], outer, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        statistics = []
        if self.task_model.kept_statistics:
            statistics = self.task_model.moving_values(others)
        return tracked, gradients, statistics

    def _judged(self, outer, episode, seed, training):
        support_y = tf.cast(episode.support_y, "int64")
        query_y = tf.cast(episode.query_y, "int64")
        labels = tf.one_hot(support_y, self.ways)
        # Datasets are checked on their first episode: in others the loss is NaN, so
        # that the step is refused and the episode named.
        known = tf.reduce_all(tf.reduce_sum(labels, axis=0) > 0.0)
        for numbers in (support_y, query_y):
            known &= tf.reduce_all((numbers >= 0) & (numbers < self.ways))
        query_y = tf.clip_by_value(query_y, 0, self.ways - 1)
        loss, y_pred, others = self.task_model.loss(
            outer,
            self.task_model.initial_others(seed),
            (episode.support_x, labels, episode.query_x),
            query_y,
            training,
        )
        loss = tf.where(known, loss, float("nan"))
        metrics = self.task_model.metric_values(query_y, y_pred)
        return {"loss": loss, **metrics}, others


def _specs(tensors):
    return [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
