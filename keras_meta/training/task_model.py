"""A Keras model, its loss and its metrics as pure functions of its weights."""

import contextlib

import keras
import tensorflow as tf

from keras_meta.training.distributed.replicas import own_copy
from keras_meta.training.distributed.whole_loss import whole_losses

BATCH_STATISTICS = ("task", "running")
KERAS_OWN = "keras"


class TaskModel:
    """Calls a Keras model with given weights, for one task, without side effects.

    Args:
        model: built `keras.Model`.
        compute_loss: `compute_loss(x=, y=, y_pred=)` of a compiled trainer.
        metrics: the trainer's built `CompileMetrics`, or None.
        batch_statistics: `"task"`: batch normalisation always uses the statistics of
            the batch at hand, also in evaluation (MAML's transductive setting).
            `"running"`: it always uses the running statistics, as inference does.
            `"keras"`: the batch's in training, where it updates the running ones,
            and these in evaluation.
    """

    def __init__(self, model, compute_loss, metrics, batch_statistics):
        self.model = model
        self.trainable = list(model.trainable_variables)
        self.others = list(model.non_trainable_variables)
        self.batch_statistics = batch_statistics
        self._compute_loss = compute_loss
        self._metrics = metrics
        self._metric_start = (
            []
            if metrics is None
            else [own_copy(v.value).numpy() for v in metrics.variables]
        )
        self._normalizations = [
            layer
            for layer in model._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._momentum = {
            id(variable): layer.momentum
            for layer in self._normalizations
            if layer.trainable  # else it keeps its statistics
            for variable in layer.non_trainable_variables
        }
        self.moving_statistics = [v for v in self.others if id(v) in self._momentum]

    @property
    def kept_statistics(self):
        """list of variables: the running statistics that training keeps."""
        return [] if self.batch_statistics == "task" else self.moving_statistics

    @property
    def has_batch_norm(self):
        return bool(self._normalizations)

    def initial_others(self, seed):
        """Returns the non-trainable values a task starts from.

        Random layers (dropout) draw from the task's seed, so that tasks differ and a
        task is reproducible.

        Args:
            seed: int64 `(2,)`.
        """
        values = []
        for index, variable in enumerate(self.others):
            if variable.name == "seed_generator_state":
                offset = tf.constant([index, 0], "int64")
                values.append(tf.cast(seed + offset, variable.dtype))
            else:
                values.append(tf.convert_to_tensor(variable.value))
        return values

    def loss(self, parameters, others, x, y, training):
        """Returns `(loss, y_pred, new_others)`; loss is a float32 scalar."""
        use_batch = self.batch_statistics == "task"
        if self.batch_statistics == KERAS_OWN:
            use_batch = training
        with keras.StatelessScope(
            self._mapping(parameters, others), collect_losses=True
        ) as scope:
            with self._batch_norm_uses_batch(use_batch):
                y_pred = self.model(x, training=training)
            with whole_losses():
                loss = self._compute_loss(x=x, y=y, y_pred=y_pred)
            loss = tf.cast(loss, "float32")
        return loss, y_pred, self._values_after(scope)

    def metric_values(self, y, y_pred):
        """Returns the compiled metrics of one task, a dict of float32 scalars."""
        if self._metrics is None:
            return {}
        start = [tf.convert_to_tensor(value) for value in self._metric_start]
        state = self._metrics.stateless_update_state(start, y, y_pred)
        # Read within the scope: a metric may return its variable itself.
        with keras.StatelessScope(zip(self._metrics.variables, state, strict=True)):
            results = self._metrics.result()
            return {name: tf.cast(value, "float32") for name, value in results.items()}

    def update_running_statistics(self, parameters, others, x):
        """Returns `others` after batch normalisation saw `x`; the rest unchanged."""
        with keras.StatelessScope(self._mapping(parameters, others)) as scope:
            with self._batch_norm_uses_batch(True):
                self.model(x, training=True)
        updated = self._values_after(scope)
        return [
            new if id(variable) in self._momentum else old
            for variable, old, new in zip(self.others, others, updated, strict=True)
        ]

    def statistics_of(self, parameters, others, x):
        """Returns `others` with the moving statistics replaced by those of `x`."""
        # From zero, moving = (1 - momentum) * batch: nothing cancels.
        zeroed = [
            tf.zeros_like(old) if self._momentum.get(id(variable), 1.0) < 1.0 else old
            for variable, old in zip(self.others, others, strict=True)
        ]
        updated = self.update_running_statistics(parameters, zeroed, x)
        values = []
        for variable, new in zip(self.others, updated, strict=True):
            momentum = self._momentum.get(id(variable), 1.0)
            values.append(new / (1.0 - momentum) if momentum < 1.0 else new)
        return values

    def moving_values(self, others):
        """Returns the values of `moving_statistics` out of all of `others`."""
        return [
            value
            for variable, value in zip(self.others, others, strict=True)
            if id(variable) in self._momentum
        ]

    def _mapping(self, parameters, others):
        return [
            *zip(self.trainable, parameters, strict=True),
            *zip(self.others, others, strict=True),
        ]

    def _values_after(self, scope):
        return [scope.get_current_value(variable) for variable in self.others]

    @contextlib.contextmanager
    def _batch_norm_uses_batch(self, use_batch):
        """Fixes the mode of batch normalisation apart from that of dropout.

        Keras has one `training` flag for both; the field needs evaluation with the
        batch's statistics (no dropout), and training with running ones.
        """
        for layer in self._normalizations:
            object.__setattr__(layer, "call", _fixed_training(layer.call, use_batch))
        try:
            yield
        finally:
            for layer in self._normalizations:
                object.__delattr__(layer, "call")


def _fixed_training(call, use_batch):
    def fixed(inputs, training=None, **kwargs):
        return call(inputs, training=use_batch, **kwargs)

    return fixed
