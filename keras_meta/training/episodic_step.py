"""The Keras model whose training step is one meta-step on a meta-batch of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta.training.distributed import shared_step, shared_validation
from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.distributed.synchronise import is_shared, run_on_each
from keras_meta.training.finite_guard import all_finite
from keras_meta.training.task_axis import can_jit, has_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras_meta.training.meta_step import TaskResults
    from keras_meta.training.task_source import TaskSource

# More steps a call than this gain nothing and make callbacks rare.
MAX_STEPS_PER_EXECUTION = 100
MAX_SEQUENTIAL_STEPS = 10


class EpisodicStep(keras.Model):
    """What a learner of tasks computes inside the graph.

    `EpisodicModel` sets the attributes that this class reads. A learner has:

    - `_engine_of(source)`, which returns what computes meta-steps on these tasks: an
      object with `task_results(outer, episodes, seeds, step, replicas)`,
      `combined(results, replicas)`, `history(outer, episodes, seeds, num_steps)`,
      `written(result, replicas)` and `is_vectorized`;
    - `_predicted(example)`, which returns `(x, y, y_pred)` of one episode;
    - `outer_tensors()`, what is learned;
    - `check_episode(source)`, which raises for tasks that cannot be learned;
    - `evaluation_steps`, int >= 0, the inner steps in validation.
    """

    max_steps_per_execution = MAX_STEPS_PER_EXECUTION

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Means over tasks of the query loss and metrics after adaptation."""
        return list(getattr(self, "_trackers", ()))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one meta-step. `data` is an `Episode` batch, or ignored."""
        outer = self.outer_tensors()
        engine = self.engine_of_training()
        result = engine.combined(self.task_results(outer, data))
        finite = all_finite(
            [result.meta_loss, *result.gradients, *result.statistics, *result.runs]
        )

        def step():
            self._take_step(engine, outer, result)

        def refuse():
            self._note_non_finite(result.bad_task())

        known = self.non_finite[0] >= 0
        tf.cond(known, _nothing, lambda: tf.cond(finite, step, refuse))
        return self.track(result.tracked)

    def task_results(
        self, outer: list[tf.Tensor], data: Any, replicas: Any = ONE
    ) -> TaskResults:
        """Returns what the tasks of a meta-step say; changes nothing.

        Args:
            outer: list of tensors, what is meta-learned.
            data: `Episode` batch of all replicas' tasks, or ignored.
            replicas: `Replicas`, of which one's own tasks are computed.
        """
        source, step = self.train_source, tf.cast(self.meta_step.value, "int64")
        numbers = step * self.meta_batch_size
        numbers += tf.range(self.meta_batch_size, dtype="int64")
        seeds = source.seeds(replicas.own(numbers))
        if source.is_dataset:
            data = tf.nest.map_structure(replicas.own, data)
        return self.engine_of_training().task_results(
            outer, source.episodes(seeds, data), seeds, step, replicas
        )

    def engine_of_training(self) -> Any:
        """Returns what computes meta-steps on the tasks of `fit`."""
        return self._engine_of(self.train_source)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Adapts to a batch of validation tasks; tracks the metrics afterwards."""
        return self.track(self.validated(self.validation_source, *data))

    def validated(
        self, source: TaskSource, numbers: tf.Tensor, episodes: Any
    ) -> dict[str, tf.Tensor]:
        """Returns the tasks' loss and metrics after adaptation.

        Args:
            source: `TaskSource`.
            numbers: int64 `(num_tasks,)`.
            episodes: `Episode` batch, or ignored.

        Returns:
            Dict from name to float32 `(num_tasks,)`.
        """
        seeds = source.seeds(numbers)
        history = self._engine_of(source).history(
            self.outer_tensors(),
            source.episodes(seeds, episodes),
            seeds,
            self.evaluation_steps,
        )
        return {name: values[:, -1] for name, values in history.items()}

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None):
        """Does nothing: all is built. Keras would read a batch, and shuffle anew."""

    def make_test_function(self, force: bool = False) -> None:
        """As Keras'; several replicas share the tasks."""
        if not is_shared(self):
            super().make_test_function(force=force)
        elif force or self.test_function is None:
            self.test_function = shared_validation.make_test_function(self)

    def make_train_function(self, force: bool = False) -> None:
        """Makes the graph of `steps_per_execution` meta-steps.

        Tasks that are drawn from seeds need no input, so all the steps of a call are
        one loop inside one compiled function; otherwise Keras' own function is used.
        """
        if self.train_function is not None and not force:
            return
        source, num_steps = self.train_source, self.steps_per_execution
        if source is not None and is_shared(self):
            run = shared_step.make_train_function(self)
        elif self.run_eagerly or source is None or source.is_dataset:
            super().make_train_function(force=True)
            run = self.train_function
        else:
            compiled = tf.function(
                self._meta_steps, jit_compile=self.jit_compile, autograph=False
            )

            def run(iterator):
                return compiled()

        def train_function(iterator):
            if source is not None and source.is_dataset:
                for _ in range(self.batches_to_pass):
                    next(iterator)
                self.batches_to_pass = 0
            if self.steps_to_skip > 0:  # They are in the restored weights.
                self.steps_to_skip -= num_steps
                return self.get_metrics_result()
            return run(iterator)

        self.train_function = train_function

    def renew_functions(self) -> None:
        """Drops compiled functions that belong to other tasks or settings."""
        settings = (self.meta_batch_size, self.steps_per_execution, self.jit_compile)
        for name, source, make in (
            ("train", self.train_source, self.make_train_function),
            ("test", self.validation_source, self.make_test_function),
        ):
            kept = self._functions.get(name)
            if source is None or (
                kept is not None
                and kept[0] == settings
                and kept[1].tasks is source.tasks
            ):
                continue
            make(force=True)
            self._functions[name] = (settings, source)

    def history_function(
        self, source: TaskSource, num_steps: int, batch: int
    ) -> Callable[..., dict[str, tf.Tensor]]:
        """Returns the compiled evaluation of a meta-batch; kept for the same tasks.

        Args:
            source: `TaskSource`.
            num_steps: int, inner steps.
            batch: int, tasks in a call.

        Returns:
            Function of `(episodes or anything, seeds)`, see `TaskEngine.history`.
        """
        key = (id(source.tasks), num_steps, batch)
        kept = self._functions.get("history")
        if kept is not None and kept[0] == key:
            return kept[1]

        def history(data, seeds):
            episodes = source.episodes(seeds, data)
            return self._engine_of(source).history(
                self.outer_tensors(), episodes, seeds, num_steps
            )

        function = tf.function(
            history,
            jit_compile=self._jit_choice is True,
            reduce_retracing=True,
            autograph=False,
        )
        # `source` is kept with it, so that its id stays its own.
        self._functions["history"] = (key, function, source)
        return function

    def prepare(self, source: TaskSource) -> None:
        """Checks the tasks, and settles how to compute them; traces little."""
        self.check_episode(source)
        self._build_losses(*self._predicted(source.example()))
        self._engine_of(source)

    def settle_jit(self, source: TaskSource) -> None:
        """Decides on XLA for meta-training on a source's tasks; once for each."""
        if self._functions.get("jit") is source.tasks:
            return
        self._functions["jit"] = source.tasks
        jit = self._jit_choice
        if jit == "auto":
            engine = self._engine_of(source)
            jit = engine.is_vectorized or has_accelerator()
            jit = jit and not self.run_eagerly
            seeds, data = source.seeds([0, 1]), pair_of(source.example())
            jit = jit and can_jit(
                lambda: (
                    engine.combined(
                        engine.task_results(
                            self.outer_tensors(),
                            source.episodes(seeds, data),
                            seeds,
                            tf.constant(0, "int64"),
                        )
                    ).gradients
                )
            )
        self.jit_compile = jit

    def _build_losses(self, x, y, y_pred):
        """Builds the compiled loss and metrics on one task's data, eagerly."""
        metrics = self._compile_metrics

        def try_out():
            self.compute_loss(x=x, y=y, y_pred=y_pred)
            if metrics is not None:
                metrics.update_state(y, y_pred)
                metrics.reset_state()

        built = all(p is None or p.built for p in (self._compile_loss, metrics))
        if built and is_shared(self):
            run_on_each(self, try_out)
            if metrics is not None:  # To read their names is a message.
                return
        else:  # Makes variables: on several workers all of them start with it.
            try_out()
        names = list(metrics.result()) if metrics else []
        if [t.name for t in self._trackers] != ["loss", *names]:
            self._trackers = tuple(keras.metrics.Mean(n) for n in ["loss", *names])
        if is_shared(self) and metrics is not None:  # Where each replica starts.
            run_on_each(self, metrics.reset_state)

    def check_steps(self, steps_per_epoch: int | None) -> None:
        """Raises ValueError unless `compile`'s steps per execution divide this."""
        chosen = self._steps_choice
        if chosen is not None and steps_per_epoch is not None:
            if steps_per_epoch % chosen:
                raise ValueError(
                    "Argument `steps_per_epoch` must be a multiple of "
                    "`steps_per_execution`. Received: steps_per_epoch="
                    f"{steps_per_epoch}, steps_per_execution={chosen}."
                )

    def resolved_steps(self, steps_per_epoch: int | None) -> int:
        """Returns the steps per execution: `compile`'s, or what suits the epoch."""
        if self._steps_choice is None:
            if steps_per_epoch is None or self.run_eagerly:
                return 1
            most = (
                self.max_steps_per_execution
                if self._engine_of(self.train_source).is_vectorized
                else MAX_SEQUENTIAL_STEPS
            )
            return max(n for n in range(1, most + 1) if steps_per_epoch % n == 0)
        return self._steps_choice

    def _meta_steps(self):
        num_steps = self.steps_per_execution

        def body(index):
            self.train_step(None)
            return (index + 1,)

        tf.while_loop(
            lambda index: (index < num_steps) & (self.non_finite[0] < 0),
            body,
            (tf.constant(0),),
            maximum_iterations=num_steps,
            parallel_iterations=1,
        )
        return self.get_metrics_result()

    def _take_step(self, engine, outer, result):
        variables = self.trainable_variables
        # `apply` divides by the scale: the gradients are those of the true loss.
        gradients = [self.optimizer.scale_loss(g) for g in result.gradients]
        # An optimizer that looks at the loss sees what it was told last.
        self.optimizer.scale_loss(result.meta_loss)
        self.optimizer.apply(gradients, variables)

        def keep():
            for variable, value in engine.written(result):
                variable.assign(value)
            self.meta_step.assign_add(1)

        def put_back():
            for variable, value in zip(variables, outer, strict=True):
                variable.assign(value)
            # Slots that overflowed start again, else no later step could succeed.
            for variable in self.optimizer.variables:
                value = tf.convert_to_tensor(variable.value)
                if value.dtype.is_floating:
                    known = tf.math.is_finite(value)
                    variable.assign(tf.where(known, value, tf.zeros_like(value)))
            self._note_non_finite(tf.constant(-1, "int64"))

        tf.cond(all_finite([v.value for v in variables]), keep, put_back)

    def _note_non_finite(self, task):
        step = tf.cast(self.meta_step.value, "int64")
        self.non_finite.assign(tf.stack([step, task]))

    def track(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds these tasks' values to the means of the epoch; returns the means."""
        for tracker in self._trackers:
            tracker.update_state(values[tracker.name])
        return self.get_metrics_result()


def _nothing():
    pass


def pair_of(episode):
    """Returns two tasks out of one: `vectorized_map` leaves a single one as it is."""
    return tf.nest.map_structure(lambda part: tf.stack([part] * 2), episode)
