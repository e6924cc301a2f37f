"""The meta-trainer: a Keras model whose training step meta-learns."""

import keras

from keras_meta import presets
from keras_meta.tasks.task import check_count
from keras_meta.training import episode_checks, trainer_preset
from keras_meta.training.adaptation import adapted_model
from keras_meta.training.fit_setup import keras_fit_arguments, with_own_callbacks
from keras_meta.training.meta_evaluation import evaluate_tasks
from keras_meta.training.meta_gradient import META_GRADIENTS
from keras_meta.training.meta_step_model import MetaStepModel
from keras_meta.training.task_axis import TASK_AXES
from keras_meta.training.task_model import BATCH_STATISTICS
from keras_meta.training.task_reduction import check_task_reduction
from keras_meta.training.trainer_settings import (
    adapted_variables,
    checked_choice,
    checked_flag,
    checked_task_seed,
    learned_inner_optimizer,
)


@keras.saving.register_keras_serializable("keras_meta")
class MetaTrainer(MetaStepModel):
    """Meta-learns an optimizer, an initialisation or both over many tasks.

    One meta-step: for each task of a meta-batch, the inner optimizer takes
    `inner_steps` steps on the support set, starting from the model's weights; the
    query loss of the adapted model is differentiated with respect to what is learned;
    the tasks' gradients are averaged and the compiled (outer) optimizer applies them.
    With `SGD(rate)` inside it is MAML (Finn et al. 2017, arXiv:1703.03400), with
    `MetaSGD()` it is Meta-SGD (Li et al. 2017, arXiv:1707.09835, algorithm 1).

    It is a `keras.Model`: the progress bar, callbacks, checkpoints, `jit_compile` and
    `steps_per_execution` are Keras' own. It needs the TensorFlow backend, and runs on
    one device. A run that was killed goes on bit for bit with `BackupAndRestore`, if
    `seed` is given and a dataset comes in the same order every time.

    Args:
        model: built `keras.Model`. Its weights are the learned initialisation, and
            `fit` changes them, unless `learn_initialization=False`.
        inner_optimizer: `LearnedOptimizer`, such as `keras_meta.MetaSGD()`; its theta
            is learned, if it has one. A plain `keras.optimizers.SGD` is taken too.
        inner_steps: int >= 1, steps in training; `evaluate` may take another number.
        learn_initialization: bool, whether the model's weights are learned.
        adapt: which variables the inner loop changes: `"all"`, `"head"` (the last
            layer that has weights; ANIL, Raghu et al. 2020), or a function from a
            variable to bool.
        meta_gradient: `"exact"` or `"first_order"` (FOMAML).
        task_reduction: `"mean"`, or a function from the tasks' losses, float32
            `(meta_batch_size,)`, to a scalar.
        task_axis: `"vectorize"`, `"sequential"`, or `"auto"`: the first if every
            operation of the model has a converter of `tf.vectorized_map`
            (convolutions have none).
        batch_statistics: what batch normalisation uses: `"task"`, the batch's own,
            also in evaluation (transductive), or `"running"`, running statistics,
            gathered from the support sets during meta-training.
        seed: int in [0, 2**32), which tasks are drawn. Default: drawn itself.
        name: str.

    Raises:
        TypeError, ValueError: for arguments that cannot work; see the messages.

    Example:

    >>> import keras, keras_meta
    >>> model = keras.Sequential([
    ...     keras.Input((1,)), keras.layers.Dense(40, "relu"), keras.layers.Dense(1)])
    >>> trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(), seed=0)
    >>> trainer.compile(keras.optimizers.Adam(1e-3), loss="mse")
    >>> tasks = keras_meta.tasks.Sinusoid(shots=10)
    >>> history = trainer.fit(
    ...     tasks, meta_batch_size=4, steps_per_epoch=10, verbose=0)
    >>> result = trainer.evaluate(tasks, episodes=10, verbose=0)
    >>> len(result["loss"]["mean"])  # before and after one step
    2
    """

    def __init__(
        self,
        model,
        inner_optimizer=None,
        inner_steps=1,
        learn_initialization=True,
        adapt="all",
        meta_gradient="exact",
        task_reduction="mean",
        task_axis="auto",
        batch_statistics="task",
        seed=None,
        name=None,
    ):
        super().__init__(name=name)
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "MetaTrainer needs Keras' TensorFlow backend. Received: backend "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before "
                "importing keras."
            )
        self.inner_optimizer = learned_inner_optimizer(inner_optimizer)
        self.inner_steps = check_count("inner_steps", inner_steps)
        self.learn_initialization = checked_flag(
            "learn_initialization", learn_initialization
        )
        self.adapt_choice = adapt
        self.meta_gradient = checked_choice(
            "meta_gradient", meta_gradient, META_GRADIENTS
        )
        check_task_reduction(task_reduction)
        self.task_reduction = task_reduction
        self.task_axis = checked_choice("task_axis", task_axis, TASK_AXES)
        self.batch_statistics = checked_choice(
            "batch_statistics", batch_statistics, BATCH_STATISTICS
        )
        self.seed = checked_task_seed(seed)
        episode_checks.check_model(model)
        self.model = model
        self.adapted = tuple(adapted_variables(model, adapt))
        self._add_learned_weights()
        self._engine = None
        self._functions = {}
        self._trackers = ()
        self.train_source = None
        self.validation_source = None
        self.meta_batch_size = None
        self._jit_choice = "auto"
        self._steps_choice = None
        self.last_evaluation = None
        self.loaded_facts = {}
        self.data_repeats = True
        self.steps_to_skip = 0
        self.batches_to_pass = 0
        self.built = True

    def call(self, inputs, training=False):
        """Returns the model's predictions at its current weights."""
        return self.model(inputs, training=training)

    def compile(
        self,
        optimizer="adam",
        loss=None,
        metrics=None,
        jit_compile="auto",
        steps_per_execution=None,
        run_eagerly=False,
        **kwargs,
    ):
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
            run_eagerly, **kwargs: as in `keras.Model.compile`.
        """
        checked_choice("jit_compile", jit_compile, (True, False, "auto"))
        steps = 1 if steps_per_execution is None else steps_per_execution
        check_count("steps_per_execution", steps)
        if loss is None and not self.model.losses:
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
        tasks=None,
        meta_batch_size=16,
        steps_per_epoch=None,
        epochs=1,
        validation_tasks=None,
        validation_episodes=100,
        callbacks=None,
        verbose="auto",
        initial_epoch=0,
        validation_freq=1,
    ):
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
            callbacks, verbose, initial_epoch, validation_freq: as in Keras.

        Returns:
            `keras.callbacks.History`.

        Raises:
            FloatingPointError: if the meta-loss becomes NaN or infinite.
            TypeError, ValueError: for tasks that the model cannot learn.
        """
        self._assert_compile_called("fit")
        self.meta_batch_size = check_count("meta_batch_size", meta_batch_size)
        callbacks = with_own_callbacks(callbacks)
        return super().fit(
            epochs=check_count("epochs", epochs),
            verbose=verbose,
            callbacks=callbacks,
            initial_epoch=initial_epoch,
            shuffle=False,  # The dataset is in the order that the user gave it.
            validation_freq=validation_freq,
            **keras_fit_arguments(
                self, tasks, steps_per_epoch, (validation_tasks, validation_episodes)
            ),
        )

    def evaluate(
        self,
        tasks=None,
        episodes=600,
        inner_steps=None,
        meta_batch_size=25,
        seed=0,
        verbose="auto",
        **kwargs,
    ):
        """Adapts to new tasks and reports every metric after every inner step.

        Args:
            tasks: `TaskDistribution` or `tf.data.Dataset` of episodes.
            episodes: int >= 2, how many tasks.
            inner_steps: int >= 1. Default: as in training.
            meta_batch_size: int >= 1, tasks in one call of the graph.
            seed: int >= 0; the same seed gives the same tasks, none of them those of
                training.
            verbose: 0, 1 or `"auto"`, as in Keras.

        Returns:
            Dict from `"loss"` and each metric to `{"mean": [before, after 1 step,
            ...], "ci95": [...]}`: means over the tasks and the half-widths of their
            95 % confidence intervals (1.96 standard errors).
        """
        if kwargs.pop("_use_cached_eval_dataset", False):
            # Keras' own validation inside `fit`.
            return super().evaluate(_use_cached_eval_dataset=True, **kwargs)
        if kwargs:
            raise TypeError(
                "`evaluate()` takes tasks, episodes, inner_steps, meta_batch_size, "
                f"seed and verbose. Received: {sorted(kwargs)}."
            )
        self._assert_compile_called("evaluate")
        return evaluate_tasks(
            self, tasks, episodes, inner_steps, meta_batch_size, seed, verbose
        )

    def adapt(self, support_x, support_y, inner_steps=None):
        """Returns a new Keras model, adapted to one support set.

        Args:
            support_x: inputs, leading axis examples.
            support_y: targets.
            inner_steps: int >= 1. Default: as in training.

        Returns:
            `keras.Model` of the same architecture, compiled with the same loss and
            metrics and with the learned optimizer.
        """
        self._assert_compile_called("adapt")
        return adapted_model(self, support_x, support_y, inner_steps)

    def save_preset(self, path, title=None):
        """Writes what was learned to one `.kmeta` file.

        It holds theta, the initialisation, the architecture and the last `evaluate()`.
        An existing file is replaced, whole or not at all.

        Args:
            path: str that ends in `.kmeta`.
            title: str, one line for the card. Default: the algorithm.

        Raises:
            PresetError: if something (a NaN, a lambda) cannot be stored or loaded.
        """
        trainer_preset.save(self, path, title)

    @classmethod
    def from_preset(cls, name_or_path):
        """Returns a trainer that is ready to evaluate, adapt and train on.

        Args:
            name_or_path: a name of `keras_meta.list_presets()`, or a `.kmeta` file.

        Raises:
            PresetError: if the file is damaged, or was not saved by a trainer.
        """
        return trainer_preset.trainer_of(cls, presets.load(name_or_path))

    def get_config(self):
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            **trainer_preset.trainer_config(self),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("model", "inner_optimizer", "adapt", "task_reduction"):
            if isinstance(config[key], dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects=custom_objects
                )
        return cls(**config)

    def get_compile_config(self):
        config = super().get_compile_config() or {}
        return {
            **config,
            "jit_compile": self._jit_choice,
            "steps_per_execution": self._steps_choice,
        }

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)
