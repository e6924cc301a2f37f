"""What a compiled meta-step computes for a meta-batch of episodes."""

import functools

import tensorflow as tf

from keras_meta.tasks.task import Episode
from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.meta_step import TaskResults, combined
from keras_meta.training.multi_step_loss import step_weights
from keras_meta.training.task_axis import can_vectorize, map_tasks
from keras_meta.training.task_run import TaskRun


class TaskEngine:
    """Adapts to each task of a meta-batch and returns what the tasks give.

    Metrics are always computed task after task: Keras' accuracy, for one, is made of
    an operation (Bitcast, in `keras.ops.argmax`) that `tf.vectorized_map` cannot
    convert, and next to an adaptation they cost little.

    Args:
        inner_loop: `InnerLoop`.
        unpack: function from the outer tensors to `(theta, parameters)`.
        meta_gradient: function, one of `META_GRADIENTS`.
        inner_steps: int >= 1, steps in training.
        inner_batch_size: int >= 1 or None, examples that an inner step sees.
        multi_step_loss: as in `MetaTrainer`.
        task_reduction: as in `MetaTrainer`.
        task_axis: `"vectorize"` or `"sequential"`.
        metric_names: list of str.
    """

    def __init__(
        self,
        inner_loop,
        unpack,
        meta_gradient,
        inner_steps,
        inner_batch_size,
        multi_step_loss,
        task_reduction,
        task_axis,
        metric_names,
    ):
        self.inner_loop = inner_loop
        self.task_model = inner_loop.task_model
        self.unpack = unpack
        self.meta_gradient = meta_gradient
        self.inner_steps = inner_steps
        self.inner_batch_size = inner_batch_size
        self.multi_step_loss = multi_step_loss
        self.task_reduction = task_reduction
        self.task_axis = task_axis
        self.metric_names = metric_names
        self._prediction_structure = None  # of one task, noted while tracing

    @property
    def is_vectorized(self):
        """bool, whether a meta-batch is one wide computation."""
        return self.task_axis == "vectorize"

    def task_results(self, outer, episodes, seeds, step, replicas=ONE):
        """Adapts to each task and differentiates; changes nothing.

        Args:
            outer: list of tensors, what is meta-learned.
            episodes: `Episode`, each tensor with leading axis `(num_tasks,)`.
            seeds: int64 `(num_tasks, 2)`.
            step: int64 scalar, how many meta-steps were taken.
            replicas: `Replicas`; `episodes` and `seeds` are one's own.

        Returns:
            `TaskResults`.
        """
        weights = step_weights(self.multi_step_loss, self.inner_steps, step)
        function = functools.partial(self._task_gradient, outer, weights)
        losses, metrics, gradients, statistics = map_tasks(
            function, (episodes, seeds), self.task_axis, self._gradient_signature(outer)
        )
        if self.is_vectorized:
            metrics = self._metrics_of(episodes.query_y, metrics)
        tracked = {"loss": losses, **metrics}
        return TaskResults(losses, gradients, tracked, statistics, seeds, [])

    def combined(self, results, replicas=ONE):
        """Returns the `MetaStep` of these `TaskResults`."""
        return combined(self.task_reduction, results, replicas)

    def history(self, outer, episodes, seeds, num_steps):
        """Returns the query loss and metrics before the first step and after each.

        Returns:
            Dict from `"loss"` and the metrics' names to float32
            `(num_tasks, num_steps + 1)`.
        """
        function = functools.partial(self._task_history, outer, num_steps)
        spec = tf.TensorSpec((num_steps + 1,), tf.float32)
        signature = {name: spec for name in ["loss", *self.metric_names]}
        history = map_tasks(function, (episodes, seeds), self.task_axis, signature)
        if not self.is_vectorized:
            return history
        losses = history.pop("loss")
        states = num_steps + 1
        metrics = self._metrics_of(
            tf.nest.map_structure(
                lambda part: tf.repeat(part, states, axis=0), episodes.query_y
            ),
            {
                name: tf.reshape(part, [-1, *part.shape[2:]])
                for name, part in history.items()
            },
        )
        return {
            "loss": losses,
            **{name: tf.reshape(m, [-1, states]) for name, m in metrics.items()},
        }

    def adapted_values(self, outer, x, y, seed, num_steps):
        """Adapts to one support set.

        Returns:
            Tuple `(parameters, others)`: the trainable and the non-trainable values.
            Batch normalisation's moving statistics are those of the support set with
            `batch_statistics="task"`, so that the result predicts by itself.
        """
        theta, parameters = self.unpack(outer)
        task = self._task_run(Episode(x, y, x, y), seed)
        parameters, others, _ = self.inner_loop.run(
            theta,
            parameters,
            self.task_model.initial_others(seed),
            x,
            y,
            num_steps,
            batches=task.batches(x, num_steps),
        )
        if self.task_model.has_batch_norm and (
            self.task_model.batch_statistics == "task"
        ):
            others = self.task_model.statistics_of(parameters, others, x)
        return parameters, others

    def tasks_vectorize(self, outer, episodes, seeds):
        """Whether a meta-gradient of these tasks can be vectorized; traces it."""
        self.task_axis = "vectorize"
        weights = step_weights(
            self.multi_step_loss, self.inner_steps, tf.constant(0, "int64")
        )
        return can_vectorize(
            functools.partial(self._task_gradient, outer, weights),
            (episodes, seeds),
            self._gradient_signature(outer),
        )

    def written(self, result, replicas=ONE):
        """Returns pairs `(variable, value)`: a meta-step's running statistics."""
        kept = self.task_model.kept_statistics
        return list(zip(kept, result.statistics, strict=True))

    def _gradient_signature(self, outer):
        scalar = tf.TensorSpec((), tf.float32)
        return (
            scalar,
            {name: scalar for name in self.metric_names},
            [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in outer],
            [tf.TensorSpec(v.shape, v.dtype) for v in self.task_model.kept_statistics],
        )

    def _judged(self, y, y_pred):
        """Returns one task's metrics, or what `_metrics_of` needs for them later."""
        if self.task_axis == "sequential":
            return self.task_model.metric_values(y, y_pred)
        if not self.metric_names:
            return {}
        self._prediction_structure = tf.nest.map_structure(lambda _: None, y_pred)
        parts = tf.nest.flatten(y_pred)
        return {f"prediction_{i:03d}": part for i, part in enumerate(parts)}

    def _metrics_of(self, y, predictions):
        """Returns the metrics of many tasks, a dict of float32 `(num_tasks,)`."""
        if not self.metric_names:
            return {}

        def values(task):
            targets, parts = task
            y_pred = tf.nest.pack_sequence_as(
                self._prediction_structure, [parts[name] for name in sorted(parts)]
            )
            return self.task_model.metric_values(targets, y_pred)

        scalar = tf.TensorSpec((), tf.float32)
        signature = {name: scalar for name in self.metric_names}
        return map_tasks(values, (y, predictions), "sequential", signature)

    def _task_run(self, episode, seed, weights=None):
        return TaskRun(
            self.inner_loop, self.unpack, episode, seed, self.inner_batch_size, weights
        )

    def _task_gradient(self, outer, weights, elements):
        episode, seed = elements
        others = self.task_model.initial_others(seed)
        loss, y_pred, gradients = self.meta_gradient(
            self._task_run(episode, seed, weights), outer, others, self.inner_steps
        )
        metrics = self._judged(episode.query_y, y_pred)
        statistics = []
        if self.task_model.kept_statistics:
            _, parameters = self.unpack(outer)
            updated = self.task_model.update_running_statistics(
                parameters, others, episode.support_x
            )
            statistics = self.task_model.moving_values(updated)
        return loss, metrics, gradients, statistics

    def _task_history(self, outer, num_steps, elements):
        episode, seed = elements
        task = self._task_run(episode, seed)
        theta, parameters = self.unpack(outer)

        def judge(parameters, others):
            loss, y_pred = task.query_loss(parameters, others, training=False)
            return {"loss": loss, **self._judged(episode.query_y, y_pred)}

        _, _, history = self.inner_loop.run(
            theta,
            parameters,
            self.task_model.initial_others(seed),
            episode.support_x,
            episode.support_y,
            num_steps,
            batches=task.batches(episode.support_x, num_steps),
            after_step=judge,
        )
        return history
