"""The meta-trainer: a Keras model whose training step meta-learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta import presets
from keras_meta.tasks.task import check_count
from keras_meta.training import episode_checks, trainer_preset
from keras_meta.training.adaptation import adapted_model
from keras_meta.training.episodic_step import pair_of
from keras_meta.training.inner_loop import InnerLoop
from keras_meta.training.learned_weights import LearnedWeights
from keras_meta.training.meta_gradients import META_GRADIENTS
from keras_meta.training.multi_step_loss import checked_multi_step_loss
from keras_meta.training.task_axis import TASK_AXES
from keras_meta.training.task_engine import TaskEngine
from keras_meta.training.task_model import BATCH_STATISTICS, TaskModel
from keras_meta.training.task_reduction import checked_task_reduction
from keras_meta.training.trainer_settings import (
    adapted_variables,
    check_reptile,
    checked_choice,
    checked_flag,
    learned_inner_optimizer,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from keras_meta.optimizers import LearnedOptimizer
    from keras_meta.tasks import TaskDistribution
    from keras_meta.training.task_reduction import Reduction
    from keras_meta.training.task_source import TaskSource


@keras.saving.register_keras_serializable("keras_meta")
class MetaTrainer(LearnedWeights):
    """Meta-learns an optimizer, an initialisation or both over many tasks.

    One meta-step: for each task of a meta-batch, the inner optimizer takes
    `inner_steps` steps on the support set, starting from the model's weights; the
    query loss of the adapted model is differentiated with respect to what is learned;
    the tasks' gradients are averaged and the compiled (outer) optimizer applies them.
    With `SGD(rate)` inside it is MAML (Finn et al. 2017, arXiv:1703.03400), with
    `MetaSGD()` it is Meta-SGD (Li et al. 2017, arXiv:1707.09835, algorithm 1).

    It is a `keras.Model`: the progress bar, callbacks, checkpoints, `jit_compile` and
    `steps_per_execution` are Keras' own. It needs the TensorFlow backend; made in the
    scope of a `tf.distribute` strategy, its replicas share the tasks. A run that was
    killed goes on bit for bit with `BackupAndRestore`, if `seed` is given and a
    dataset comes in the same order every time. A dataset whose
    length is not known (`cardinality()` of a generator) is read to its end in every
    epoch, and Keras warns there that the input ran out; with `steps_per_epoch` it
    starts again where it ends, without a warning.

    Args:
        model: built `keras.Model`. Its weights are the learned initialisation, and
            `fit` changes them, unless `learn_initialization=False`.
        inner_optimizer: `LearnedOptimizer`, such as `keras_meta.MetaSGD()`; its theta
            is learned, if it has one. A plain `keras.optimizers.SGD` is taken too.
        inner_steps: int >= 1, steps in training.
        learn_initialization: bool, whether the model's weights are learned.
        adapt: which variables the inner loop changes: `"all"`, `"head"` (the last
            layer that has weights; ANIL, Raghu et al. 2020), or a function from a
            variable to bool (not the head: BOIL, Oh et al. 2021).
        meta_gradient: `"exact"`, `"first_order"` (FOMAML) or `"reptile"` (Nichol et
            al. 2018), which trains on support and query together, moves the
            initialisation towards the result, and learns nothing else.
        task_reduction: `"mean"`, `"median"`, `"trimmed_mean"`, `"cvar"`, `"huber"`, an
            object such as `keras_meta.training.TrimmedMean(0.1)`, or a function from
            the tasks' losses, float32 `(meta_batch_size,)`, to a scalar.
        task_axis: `"vectorize"`, `"sequential"`, or `"auto"`: the first if every
            operation of the model has a converter of `tf.vectorized_map`
            (convolutions have none).
        batch_statistics: what batch normalisation uses: `"task"`, the batch's own,
            also in evaluation (transductive), or `"running"`, running statistics,
            gathered from the support sets during meta-training.
        inner_batch_size: int >= 1, or None for the whole set: how many examples an
            inner step sees, in passes over the set in random order. Reptile's inner
            batches; evaluation and `adapt` draw them too.
        multi_step_loss: None, the query loss after the last inner step counts; or
            MAML++'s multi-step loss (Antoniou et al. 2019): an int, the meta-steps
            over which the weights of the steps before the last fade out, or a list
            of `inner_steps` weights. Not with Reptile.
        evaluation_steps: int >= 1, inner steps in validation, `evaluate` and
            `adapt`. Default: `inner_steps`.
        remat: bool. True computes inner steps twice instead of keeping what the
            exact meta-gradient needs: less memory for many steps, more time.
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

    cures = "smaller inner rates or fewer inner steps"

    def __init__(
        self,
        model: keras.Model,
        inner_optimizer: LearnedOptimizer | keras.optimizers.SGD | None = None,
        inner_steps: int = 1,
        learn_initialization: bool = True,
        adapt: str | Callable[[keras.Variable], bool] = "all",
        meta_gradient: str = "exact",
        task_reduction: Reduction = "mean",
        task_axis: str = "auto",
        batch_statistics: str = "task",
        inner_batch_size: int | None = None,
        multi_step_loss: int | Sequence[float] | None = None,
        evaluation_steps: int | None = None,
        remat: bool = False,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "MetaTrainer needs Keras' TensorFlow backend. Received: backend "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before "
                "importing keras."
            )
        episode_checks.check_model(model)
        super().__init__(model, seed, name)
        self.inner_optimizer = learned_inner_optimizer(inner_optimizer)
        self.inner_steps = check_count("inner_steps", inner_steps)
        self.learn_initialization = checked_flag(
            "learn_initialization", learn_initialization
        )
        self.adapt_choice = adapt
        self.meta_gradient = checked_choice(
            "meta_gradient", meta_gradient, META_GRADIENTS
        )
        self.task_reduction = checked_task_reduction(task_reduction)
        self.task_axis = checked_choice("task_axis", task_axis, TASK_AXES)
        self.batch_statistics = checked_choice(
            "batch_statistics", batch_statistics, BATCH_STATISTICS
        )
        self.inner_batch_size = None
        if inner_batch_size is not None:
            self.inner_batch_size = check_count("inner_batch_size", inner_batch_size)
        self.multi_step_loss = checked_multi_step_loss(
            multi_step_loss, self.inner_steps
        )
        self.evaluation_steps = self.inner_steps
        if evaluation_steps is not None:
            self.evaluation_steps = check_count("evaluation_steps", evaluation_steps)
        self.remat = checked_flag("remat", remat)
        self.adapted = tuple(adapted_variables(model, adapt))
        self._add_learned_weights()
        check_reptile(self)
        self._add_counters()
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the model's predictions at its current weights."""
        return self.model(inputs, training=training)

    def evaluate(
        self,
        tasks: TaskDistribution | tf.data.Dataset | None = None,
        episodes: int = 600,
        inner_steps: int | None = None,
        meta_batch_size: int = 25,
        seed: int = 0,
        verbose: int | str = "auto",
        **kwargs: Any,
    ) -> dict[str, dict[str, list[float]]]:
        """Adapts to new tasks and reports every metric after every inner step.

        Args:
            tasks: `TaskDistribution` or `tf.data.Dataset` of episodes.
            episodes: int >= 2, how many tasks.
            inner_steps: int >= 1. Default: `evaluation_steps`.
            meta_batch_size: int >= 1, tasks in one call of the graph.
            seed: int >= 0; the same seed gives the same tasks, none of them those of
                training.
            verbose: 0, 1 or `"auto"`, as in Keras.

        Returns:
            Dict from `"loss"` and each metric to `{"mean": [before, after 1 step,
            ...], "ci95": [...]}`: means over the tasks and the half-widths of their
            95 % confidence intervals (1.96 standard errors).
        """
        steps = self._checked_steps(inner_steps, self.evaluation_steps)
        return self._evaluate(
            tasks, episodes, steps, meta_batch_size, seed, verbose, kwargs
        )

    def adapt(
        self, support_x: Any, support_y: Any, inner_steps: int | None = None
    ) -> keras.Model:
        """Returns a new Keras model, adapted to one support set.

        Args:
            support_x: inputs, leading axis examples.
            support_y: targets.
            inner_steps: int >= 1. Default: `evaluation_steps`.

        Returns:
            `keras.Model` of the same architecture, compiled with the same loss and
            metrics and with the learned optimizer.
        """
        self._assert_compile_called("adapt")
        steps = self._checked_steps(inner_steps, self.evaluation_steps)
        return adapted_model(self, support_x, support_y, steps)

    def adaptation_function(self, x: Any, y: Any, num_steps: int) -> Callable[..., Any]:
        """Returns the compiled adaptation to a support set; kept.

        Args:
            x: support inputs, to build the loss on.
            y: support targets.
            num_steps: int, inner steps.

        Returns:
            Function of `(x, y)`, see `TaskEngine.adapted_values`.
        """
        self._check_trainable()
        self._build_losses(x, y, self.model(x, training=False))
        if ("adapt", num_steps) not in self._functions:
            engine = self._task_engine("sequential")

            def run(x, y):
                seed = tf.constant([2 * self.seed, 0], "int64")
                return engine.adapted_values(
                    self.outer_tensors(), x, y, seed, num_steps
                )

            # Inner batches are drawn from a set whose size is known.
            self._functions["adapt", num_steps] = tf.function(
                run, reduce_retracing=self.inner_batch_size is None, autograph=False
            )
        return self._functions["adapt", num_steps]

    def check_episode(self, source: TaskSource) -> None:
        """Raises ValueError for tasks that the model cannot learn."""
        self._check_trainable()
        episode_checks.check_episode(self, source)

    def save_preset(self, path: str | os.PathLike, title: str | None = None) -> None:
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
    def from_preset(cls, name_or_path: str | os.PathLike) -> Self:
        """Returns a trainer that is ready to evaluate, adapt and train on.

        Args:
            name_or_path: a name of `keras_meta.list_presets()`, or a `.kmeta` file.

        Raises:
            PresetError: if the file is damaged, or was not saved by a trainer.
        """
        return trainer_preset.trainer_of(cls, presets.load(name_or_path))

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            **trainer_preset.trainer_config(self),
        }

    @staticmethod
    def _checked_steps(steps, default):
        return default if steps is None else check_count("inner_steps", steps)

    def _predicted(self, example):
        x, y = example.support_x, example.support_y
        y_pred = self.model(x, training=False)
        episode_checks.check_prediction(y, y_pred)
        return x, y, y_pred

    def _engine_of(self, source):
        if self._engine is None:
            self._engine = self._settled_engine(source)
        return self._engine

    def _settled_engine(self, source):
        engine = self._task_engine(self.task_axis)
        if self.task_axis != "sequential":
            # Two tasks: `vectorized_map` leaves a single one unconverted.
            vectorize = engine.tasks_vectorize(
                self.outer_tensors(), pair_of(source.example()), source.seeds([0, 1])
            )
            if self.task_axis == "vectorize" and not vectorize:
                raise ValueError(
                    'task_axis="vectorize" needs operations that `tf.vectorized_map` '
                    "can convert. Received: a model, loss or metric with one that it "
                    "cannot, such as a convolution with adapted filters. Use "
                    'task_axis="auto" or "sequential".'
                )
            engine.task_axis = "vectorize" if vectorize else "sequential"
        inner_loop = engine.inner_loop
        inner_loop.vectorized = engine.is_vectorized
        # XLA cannot lower a graph loop that `vectorized_map` has converted.
        inner_loop.always_unrolled = inner_loop.vectorized and self._jit_choice is True
        return engine

    def _task_engine(self, task_axis):
        task_model = TaskModel(
            self.model, self.compute_loss, self._compile_metrics, self.batch_statistics
        )
        return TaskEngine(
            InnerLoop(task_model, self.inner_optimizer, self.adapted, self.remat),
            self._unpacked,
            META_GRADIENTS[self.meta_gradient],
            self.inner_steps,
            self.inner_batch_size,
            self.multi_step_loss,
            self.task_reduction,
            task_axis,
            [tracker.name for tracker in self._trackers[1:]],
        )
