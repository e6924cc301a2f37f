"""A Keras model that learns from episodes: `compile`, `fit`, `evaluate`, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta.tasks.task import check_count
from keras_meta.training.distributed import shared_validation
from keras_meta.training.distributed.fit_checks import check_optimizer_scope, is_chief
from keras_meta.training.distributed.synchronise import (
    gather_runs_for_saving,
    is_shared,
)
from keras_meta.training.episodic_step import EpisodicStep
from keras_meta.training.file_saving import save_atomically
from keras_meta.training.fit_setup import keras_fit_arguments
from keras_meta.training.meta_evaluation import evaluate_tasks
from keras_meta.training.task_source import TaskSource
from keras_meta.training.trainer_settings import checked_choice, checked_task_seed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from keras_meta.tasks import TaskDistribution


class EpisodicModel(EpisodicStep):
    """A learner of tasks with Keras' own training loop around it.

    Args:
        model: built `keras.Model`; None for a learner whose tasks bring their own.
        seed: int in [0, 2**32) or None.
        name: str.
    """

    source_class = TaskSource

    def __init__(
        self, model: keras.Model | None, seed: int | None, name: str | None
    ) -> None:
        super().__init__(name=name)
        self.seed = checked_task_seed(seed)
        self.model = model
        self._num_trainable = len(model.trainable_variables) if model else 0
        self._engine = None
        self._functions = {}
        self._trackers = ()
        self.train_source = None
        self.validation_source = None
        self.validation_episodes = None
        self.meta_batch_size = None
        self._jit_choice = "auto"
        self._steps_choice = None
        self.last_evaluation = None
        self.loaded_facts = {}
        self.data_repeats = True
        self.runs_are_apart = False
        self.steps_to_skip = 0
        self.batches_to_pass = 0

    @property
    def meta_steps_taken(self) -> int:
        """How many meta-steps were taken."""
        return int(self.meta_step.value.numpy())

    @property
    def losses(self) -> list[Any]:
        """The model's own losses: regularisers and `add_loss`."""
        return self.model.losses if self.model else []

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        loss: str | keras.losses.Loss | Callable[..., Any] | None = None,
        metrics: Sequence[Any] | None = None,
        jit_compile: bool | str = "auto",
        steps_per_execution: int | None = None,
        run_eagerly: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures the outer optimizer, and the loss and metrics of the tasks.

        Args:
            optimizer: Keras optimizer of the meta-parameters.
            loss: Keras loss, of the support and of the query set.
            metrics: list of Keras metrics, computed for each task by itself.
            jit_compile: bool or `"auto"`: XLA on a GPU or TPU; on a CPU where tasks
                are vectorized (and XLA knows every operation), plain graphs where
                they are sequential.
            steps_per_execution: int >= 1, meta-steps in one call of the graph.
                Default: the largest divisor of `steps_per_epoch` up to 100 (10 where
                tasks are sequential).
            run_eagerly: as in `keras.Model.compile`.
            **kwargs: as in `keras.Model.compile`.
        """
        checked_choice("jit_compile", jit_compile, (True, False, "auto"))
        steps = 1 if steps_per_execution is None else steps_per_execution
        check_count("steps_per_execution", steps)
        if loss is None and self.model and not self.losses:
            raise ValueError(
                "Argument `loss` of `compile()` must name the loss of the tasks, such "
                'as "mse" or "sparse_categorical_crossentropy". Received: loss=None.'
            )
        super().compile(
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            jit_compile=jit_compile is True,
            steps_per_execution=steps,
            run_eagerly=run_eagerly,
            **kwargs,
        )
        check_optimizer_scope(self)
        if not self.optimizer.built:  # At once, so that its weights can be loaded.
            self.optimizer.build(self.trainable_variables)
        # In a function: Keras would track the metrics twice.
        kept = {"loss": loss, "metrics": metrics}
        kept["loss_weights"] = kwargs.get("loss_weights")
        self.loss_and_metrics = lambda: dict(kept)
        self._jit_choice = jit_compile
        self._steps_choice = steps_per_execution
        self._engine = None
        self._functions = {}

    def fit(
        self,
        tasks: TaskDistribution | tf.data.Dataset | None = None,
        meta_batch_size: int = 16,
        steps_per_epoch: int | None = None,
        epochs: int = 1,
        validation_tasks: TaskDistribution | tf.data.Dataset | None = None,
        validation_episodes: int = 100,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int | str = "auto",
        initial_epoch: int = 0,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """Meta-trains; as `keras.Model.fit`, with tasks in the place of data.

        Args:
            tasks: `keras_meta.tasks.TaskDistribution`, sampled inside the graph, or
                `tf.data.Dataset` of single episodes.
            meta_batch_size: int >= 1, tasks in a meta-step.
            steps_per_epoch: int >= 1, meta-steps in an epoch; a dataset that ends
                starts again. Default 100; for a dataset, its length.
            epochs: int >= 1.
            validation_tasks: as `tasks`; adds `val_loss` and the metrics after
                adaptation to the logs at the end of an epoch.
            validation_episodes: int >= 1, how many of them.
            callbacks: as in Keras.
            verbose: as in Keras.
            initial_epoch: as in Keras.
            validation_freq: as in Keras.

        Returns:
            `keras.callbacks.History`.

        Raises:
            FloatingPointError: if the meta-loss becomes NaN or infinite.
            TypeError, ValueError: for tasks that the model cannot learn.
        """
        self._assert_compile_called("fit")
        others = {
            "epochs": epochs,
            "initial_epoch": initial_epoch,
            "validation_tasks": validation_tasks,
            "validation_episodes": validation_episodes,
            "validation_freq": validation_freq,
        }
        return super().fit(
            epochs=epochs,
            verbose=verbose if is_chief(self.distribute_strategy) else 0,
            initial_epoch=initial_epoch,
            shuffle=False,  # The dataset is in the order that the user gave it.
            validation_freq=validation_freq,
            **keras_fit_arguments(
                self, tasks, meta_batch_size, steps_per_epoch, callbacks, others
            ),
        )

    def evaluate(
        self,
        tasks: TaskDistribution | tf.data.Dataset | None = None,
        episodes: int = 600,
        meta_batch_size: int = 25,
        seed: int = 0,
        verbose: int | str = "auto",
        **kwargs: Any,
    ) -> dict[str, dict[str, list[float]]]:
        """Reports every metric on new tasks.

        Args:
            tasks: `TaskDistribution` or `tf.data.Dataset` of episodes.
            episodes: int >= 2, how many tasks.
            meta_batch_size: int >= 1, tasks in one call of the graph.
            seed: int >= 0; the same seed gives the same tasks, none of them those of
                training.
            verbose: 0, 1 or `"auto"`, as in Keras.

        Returns:
            Dict from `"loss"` and each metric to `{"mean": [float], "ci95":
            [float]}`: means over the tasks and the half-widths of their 95 %
            confidence intervals (1.96 standard errors).
        """
        steps = self.evaluation_steps
        return self._evaluate(
            tasks, episodes, steps, meta_batch_size, seed, verbose, kwargs
        )

    def _evaluate(self, tasks, episodes, steps, meta_batch_size, seed, verbose, kwargs):
        if kwargs.pop("_use_cached_eval_dataset", False):
            if is_shared(self):
                return shared_validation.validation_logs(self, kwargs["callbacks"])
            # Keras' own validation inside `fit`.
            return super().evaluate(_use_cached_eval_dataset=True, **kwargs)
        if kwargs:
            raise TypeError(
                "`evaluate()` does not take the arguments of `keras.Model.evaluate()`. "
                f"Received: {sorted(kwargs)}. See its docstring."
            )
        self._assert_compile_called("evaluate")
        return evaluate_tasks(
            self, tasks, episodes, steps, meta_batch_size, seed, verbose
        )

    def save(
        self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any
    ) -> None:
        """As Keras'; a file appears whole or not at all, also if killed."""
        gather_runs_for_saving(self)
        save_atomically(super().save, self, filepath, overwrite, kwargs)

    def save_weights(
        self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any
    ) -> None:
        """As Keras'; the file appears whole or not at all, also if killed."""
        gather_runs_for_saving(self)
        save_atomically(super().save_weights, self, filepath, overwrite, kwargs)

    def training_facts(self) -> dict[str, Any]:
        """Returns JSON-able facts on the meta-training so far, for a card."""
        facts = {**self.loaded_facts, "meta_steps": self.meta_steps_taken}
        if self.train_source is not None:
            facts["tasks"] = self.train_source.describe()
            facts["meta_batch_size"] = self.meta_batch_size
        return facts

    def note_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Keeps the facts and results of an evaluation for a card."""
        self.last_evaluation = evaluation

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        built = {
            key: keras.saving.deserialize_keras_object(
                value, custom_objects=custom_objects
            )
            if isinstance(value, dict)
            else value
            for key, value in config.items()
        }
        return cls(**built)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config() or {}
        return {
            **config,
            "jit_compile": self._jit_choice,
            "steps_per_execution": self._steps_choice,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)

    def all_runs(self) -> list[Any]:
        """Returns `[]`: the runs of episodes end with their meta-step."""
        return []

    def _check_trainable(self):
        count = len(self.model.trainable_variables)
        if count != self._num_trainable:
            raise ValueError(
                "The model's trainable variables must stay those with which the "
                f"{type(self).__name__} was made. Received: {count} instead of "
                f"{self._num_trainable}. Set `trainable` first, then make a new one."
            )

    def _add_counters(self):
        self.meta_step = self._counter("meta_step", ())
        # Finished epochs, and the meta-step at which the running epoch began.
        self.progress = self._counter("progress", (2,))
        # The first meta-step that was not finite, and the number of its task.
        self.non_finite = tf.Variable([-1, -1], dtype="int64", trainable=False)

    def _counter(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def outer_tensors(self) -> list[tf.Tensor]:
        """Returns the values of what is learned."""
        return [tf.convert_to_tensor(v.value) for v in self.trainable_variables]
