"""Matching and prototypical networks: classification by comparison."""

from __future__ import annotations

import dataclasses
import numbers
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_meta import presets
from keras_meta.learners import matching_preset
from keras_meta.learners.comparison import METRICS
from keras_meta.learners.episode_classifier import EpisodeClassifier, embedding_size
from keras_meta.learners.metric_engine import MetricEngine
from keras_meta.learners.support_checks import check_episodes, checked_labels
from keras_meta.learners.support_head import SupportHead
from keras_meta.training import episode_checks
from keras_meta.training.adaptation import copied_model
from keras_meta.training.episodic_model import EpisodicModel
from keras_meta.training.task_model import KERAS_OWN, TaskModel
from keras_meta.training.task_reduction import checked_task_reduction
from keras_meta.training.trainer_settings import checked_choice, checked_number

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from keras_meta.training.task_reduction import Reduction
    from keras_meta.training.task_source import TaskSource

SCALES = {"cosine": 10.0, "euclidean": 1.0}
STATISTICS = {"task": "task", "running": KERAS_OWN}


@keras.saving.register_keras_serializable("keras_meta")
class MatchingNetwork(EpisodicModel):
    """Learns an embedding in which a few examples of a class tell the others.

    A query is classified by its likeness to the support set; there are no inner
    steps. `metric="cosine"` is the matching network (Vinyals et al. 2016,
    arXiv:1606.04080): attention over all support examples, by cosine.
    `metric="euclidean"` is the prototypical network (Snell et al. 2017,
    arXiv:1703.05175): the distance to each class's mean embedding. Episodes of any
    number of ways and shots can be evaluated, whichever it was trained on.

    It is a `keras.Model`, and its `fit`, `evaluate`, callbacks and presets are those
    of `keras_meta.MetaTrainer`. It needs the TensorFlow backend.

    Args:
        encoder: built `keras.Model` from examples to one tensor of a fixed size,
            which is flattened.
        metric: `"cosine"` or `"euclidean"`.
        scale: float > 0, multiplies cosines or squared distances. Default: 1.0 for
            `"euclidean"`, the paper's; 10.0 for `"cosine"`, where the paper's 1.0
            keeps a 5-way probability below 0.65.
        full_context: None; or an int >= 0, the matching network's full-context
            embeddings, with that many reads of the support set. Their LSTMs depend
            on the order of the support set.
        task_reduction: as in `MetaTrainer`.
        batch_statistics: what batch normalisation uses in evaluation: `"running"`
            statistics, as any Keras model, or those of the `"task"`, support and
            query together (transductive). In training it uses the task's.
        seed: int in [0, 2**32), which tasks are drawn. Default: drawn itself.
        name: str.

    Raises:
        TypeError, ValueError: for arguments that cannot work; see the messages.

    Example:

    >>> import keras, numpy as np, keras_meta
    >>> encoder = keras.Sequential([
    ...     keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16)])
    >>> learner = keras_meta.learners.MatchingNetwork(encoder, "euclidean", seed=0)
    >>> learner.compile("adam", metrics=["accuracy"])
    >>> images = np.random.default_rng(0).normal(size=(10, 20, 8, 8))
    >>> tasks = keras_meta.tasks.FewShotClassification(images, ways=5, shots=1)
    >>> history = learner.fit(tasks, 4, steps_per_epoch=2, verbose=0)
    >>> result = learner.evaluate(tasks, episodes=10, verbose=0)
    >>> len(result["accuracy"]["mean"])
    1
    """

    evaluation_steps = 0
    cures = "or class numbers from 0 that each have a support example"

    def __init__(
        self,
        encoder: keras.Model,
        metric: str = "cosine",
        scale: float | None = None,
        full_context: int | None = None,
        task_reduction: Reduction = "mean",
        batch_statistics: str = "running",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "MatchingNetwork needs Keras' TensorFlow backend. Received: backend "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before "
                "importing keras."
            )
        episode_checks.check_model(encoder, "encoder")
        embedding_size(encoder)
        checked_choice("metric", metric, tuple(METRICS))
        scale = checked_number(
            "scale",
            SCALES[metric] if scale is None else scale,
            lambda value: 0.0 < value < float("inf"),
            "> 0 and finite",
        )
        if full_context is not None:
            full_context = _checked_reads(full_context)
        checked_choice("batch_statistics", batch_statistics, tuple(STATISTICS))
        super().__init__(
            EpisodeClassifier(encoder, metric, scale, full_context), seed, name
        )
        self.encoder = encoder
        self.metric = metric
        self.scale = scale
        self.full_context = full_context
        self.task_reduction = checked_task_reduction(task_reduction)
        self.batch_statistics = batch_statistics
        self._add_counters()
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the encoder's embeddings of `inputs`, `(num_examples, size)`."""
        return self.model.embed(inputs, training)

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        loss: str | keras.losses.Loss | Callable[..., Any] | None = None,
        metrics: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """As `MetaTrainer.compile`; `loss` defaults to the papers'.

        Args:
            optimizer: Keras optimizer.
            loss: Keras loss of class numbers and logits. Default:
                `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
            metrics: list of Keras metrics, such as `["accuracy"]`.
            **kwargs: see `MetaTrainer.compile`.
        """
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def adapt(self, support_x: Any, support_y: Any) -> keras.Model:
        """Returns a Keras model that classifies by this support set.

        Args:
            support_x: inputs, leading axis examples.
            support_y: class numbers, int `(num_support,)`, from 0; each at least
                once.

        Returns:
            `keras.Model` from inputs to logits `(num_examples, ways)`, a copy of the
            encoder and a layer that holds the support set's embeddings; compiled
            with the same loss and metrics. With `batch_statistics="task"` it
            normalises by the support set alone, as the queries are not known yet:
            `evaluate`, which sees both, judges another model.
        """
        self._assert_compile_called("adapt")
        support_x, support_y = episode_checks.checked_set(support_x, support_y)
        labels, ways = checked_labels(support_y)
        episode_checks.checked_prediction(self.encoder, support_x)
        encoder = copied_model(self.encoder, support_x)
        if self.batch_statistics == "task":
            _set_statistics(encoder, support_x)
        size = embedding_size(encoder)
        head = SupportHead(
            len(labels), ways, self.metric, self.scale, self.full_context
        )
        inputs = keras.tree.map_structure(
            lambda part: keras.Input(part.shape[1:], dtype=part.dtype), support_x
        )
        outputs = head(keras.layers.Reshape((size,))(encoder(inputs)))
        embeddings = encoder(support_x, training=False)
        context = self.model.in_context(tf.reshape(embeddings, (-1, size)))
        head.support.assign(context)
        head.labels.assign(np.eye(ways, dtype="float32")[labels])
        if head.context is not None:
            head.context.set_weights(self.model.context.get_weights())
        model = keras.Model(inputs, outputs)
        compiling = self.loss_and_metrics()
        compiling["metrics"] = keras.tree.map_structure(
            episode_checks.fresh_metric, compiling["metrics"]
        )
        model.compile(**compiling)
        # Keras could not load a saved model whose optimizer was never built.
        model.optimizer.build(model.trainable_variables)
        return model

    def save_preset(self, path: str | os.PathLike, title: str | None = None) -> None:
        """Writes what was learned to one `.kmeta` file; as `MetaTrainer.save_preset`.

        Args:
            path: str that ends in `.kmeta`.
            title: str, one line for the card. Default: the algorithm.

        Raises:
            PresetError: if something (a NaN, a lambda) cannot be stored or loaded.
        """
        matching_preset.save(self, path, title)

    @classmethod
    def from_preset(cls, name_or_path: str | os.PathLike) -> Self:
        """Returns a learner that is ready to evaluate, adapt and train on.

        Args:
            name_or_path: a name of `keras_meta.list_presets()`, or a `.kmeta` file.

        Raises:
            PresetError: if the file is damaged, or was not saved by this class.
        """
        return matching_preset.learner_of(cls, presets.load(name_or_path))

    def check_episode(self, source: TaskSource) -> None:
        """Raises ValueError for tasks that cannot be classified by comparison."""
        self._check_trainable()
        check_episodes(self.encoder, source)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            **matching_preset.learner_config(self),
        }

    def _predicted(self, example):
        classes = tf.cast(example.support_y, "int64")
        labels = tf.one_hot(classes, 1 + int(tf.reduce_max(classes)))
        inputs = (example.support_x, labels, example.query_x)
        y_pred = self.model(inputs, training=False)
        episode_checks.check_loss(self, example.query_y, y_pred)
        return inputs, example.query_y, y_pred

    def _engine_of(self, source):
        names = [tracker.name for tracker in self._trackers[1:]]
        if self._engine is None or self._engine.metric_names != names:
            task_model = TaskModel(
                self.model,
                self.compute_loss,
                self._compile_metrics,
                STATISTICS[self.batch_statistics],
            )
            self._engine = MetricEngine(task_model, 0, self.task_reduction, names)
        # Episodes may have other ways in validation than in training.
        return dataclasses.replace(self._engine, ways=source.num_classes)


def _checked_reads(full_context):
    is_count = isinstance(full_context, numbers.Integral) and full_context >= 0
    if not is_count or isinstance(full_context, bool):
        raise ValueError(
            "Argument `full_context` must be None or an integer >= 0. "
            f"Received: full_context={full_context!r}."
        )
    return int(full_context)


def _set_statistics(encoder, x):
    """Gives the encoder's batch normalisation the statistics of `x`."""
    task_model = TaskModel(encoder, None, None, "task")
    parameters = [tf.convert_to_tensor(v) for v in encoder.trainable_variables]
    others = [tf.convert_to_tensor(v) for v in encoder.non_trainable_variables]
    values = task_model.statistics_of(parameters, others, x)
    for variable, value in zip(encoder.non_trainable_variables, values, strict=True):
        variable.assign(value)
