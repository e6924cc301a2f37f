"""The Keras model whose training step is one meta-step."""

import keras
import tensorflow as tf

from keras_meta.training import episode_checks
from keras_meta.training.finite_guard import all_finite, first_bad_task
from keras_meta.training.learned_weights import LearnedWeights
from keras_meta.training.task_axis import can_jit
from keras_meta.training.task_engine import TaskEngine
from keras_meta.training.task_model import TaskModel
from keras_meta.training.task_reduction import reduce_tasks

# More steps a call than this gain nothing and make callbacks rare.
MAX_STEPS_PER_EXECUTION = {"vectorize": 100, "sequential": 10}


class MetaStepModel(LearnedWeights):
    """What `MetaTrainer` computes inside the graph.

    `MetaTrainer` sets the attributes that this class reads: the model, the inner
    optimizer, the choices of its constructor and of `compile`, and the task sources.
    """

    @property
    def losses(self):
        """The model's own losses: regularisers and `add_loss`."""
        return self.model.losses

    @property
    def metrics(self):
        """Means over tasks of the query loss and metrics after adaptation."""
        return list(getattr(self, "_trackers", ()))

    def train_step(self, data):
        """Takes one meta-step. `data` is an `Episode` batch, or ignored."""
        source, outer = self.train_source, self._outer_tensors()
        first = tf.cast(self.meta_step.value, "int64") * self.meta_batch_size
        seeds = source.seeds(first + tf.range(self.meta_batch_size, dtype="int64"))
        losses, metrics, gradients, statistics = self._engine.meta_gradients(
            outer, source.episodes(seeds, data), seeds, self.inner_steps
        )
        meta_loss, meta_gradients = reduce_tasks(self.task_reduction, losses, gradients)
        finite = all_finite([meta_loss, *meta_gradients, *statistics])

        def step():
            self._take_step(outer, meta_gradients, statistics)

        def refuse():
            self._note_non_finite(first_bad_task(losses, gradients, seeds))

        known = self.non_finite[0] >= 0
        tf.cond(known, _nothing, lambda: tf.cond(finite, step, refuse))
        return self._track({"loss": losses, **metrics})

    def test_step(self, data):
        """Adapts to a batch of validation tasks; tracks the metrics afterwards."""
        numbers, episodes = data
        seeds = self.validation_source.seeds(numbers)
        history = self._engine.history(
            self._outer_tensors(),
            self.validation_source.episodes(seeds, episodes),
            seeds,
            self.inner_steps,
        )
        return self._track({name: values[:, -1] for name, values in history.items()})

    def make_train_function(self, force=False):
        """Makes the graph of `steps_per_execution` meta-steps.

        Tasks that are drawn from seeds need no input, so all the steps of a call are
        one loop inside one compiled function; otherwise Keras' own function is used.
        """
        if self.train_function is not None and not force:
            return
        source, num_steps = self.train_source, self.steps_per_execution
        if self.run_eagerly or source is None or source.is_dataset:
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

    def renew_functions(self):
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

    def history_function(self, source, num_steps, batch):
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
            return self._engine.history(
                self._outer_tensors(), episodes, seeds, num_steps
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

    def adaptation_function(self, x, y, num_steps):
        """Returns the compiled adaptation to a support set; kept.

        Args:
            x: support inputs, to build the loss on.
            y: support targets.
            num_steps: int, inner steps.

        Returns:
            Function of `(x, y)`, see `TaskEngine.adapted_values`.
        """
        self._build_losses(x, y)
        if ("adapt", num_steps) not in self._functions:
            engine = self._task_engine("sequential")

            def run(x, y):
                seed = tf.constant([2 * self.seed, 0], "int64")
                return engine.adapted_values(
                    self._outer_tensors(), x, y, seed, num_steps
                )

            self._functions["adapt", num_steps] = tf.function(
                run, reduce_retracing=True, autograph=False
            )
        return self._functions["adapt", num_steps]

    def prepare(self, source):
        """Checks the tasks and settles the task axis and XLA; traces little."""
        episode_checks.check_episode(self, source)
        example = source.example()
        self._build_losses(example.support_x, example.support_y)
        if self._engine is not None:
            return
        self._engine = self._task_engine(self.task_axis)
        # Two tasks: `vectorized_map` leaves a single one unconverted.
        seeds = source.seeds([0, 1])
        episodes = _pair(example)
        if self.task_axis != "sequential":
            vectorize = self._engine.tasks_vectorize(
                self._outer_tensors(), episodes, seeds, self.inner_steps
            )
            if self.task_axis == "vectorize" and not vectorize:
                self._engine = None
                raise ValueError(
                    'task_axis="vectorize" needs operations that `tf.vectorized_map` '
                    "can convert. Received: a model, loss or metric with one that it "
                    "cannot, such as a convolution with adapted filters. Use "
                    'task_axis="auto" or "sequential".'
                )
            self._engine.task_axis = "vectorize" if vectorize else "sequential"
        inner_loop = self._engine.inner_loop
        inner_loop.vectorized = self._engine.task_axis == "vectorize"
        # XLA cannot lower a graph loop that `vectorized_map` has converted.
        inner_loop.always_unrolled = inner_loop.vectorized and self._jit_choice is True

    def settle_jit(self, source):
        """Decides on XLA for meta-training on a source's tasks; once for each."""
        if self._functions.get("jit") is source.tasks:
            return
        self._functions["jit"] = source.tasks
        jit = self._jit_choice
        if jit == "auto":
            accelerated = bool(
                tf.config.list_logical_devices("GPU")
                or tf.config.list_logical_devices("TPU")
            )
            jit = not self.run_eagerly and (
                accelerated or self._engine.task_axis == "vectorize"
            )
            seeds, data = source.seeds([0, 1]), _pair(source.example())
            jit = jit and can_jit(
                lambda: self._engine.meta_gradients(
                    self._outer_tensors(),
                    source.episodes(seeds, data),
                    seeds,
                    self.inner_steps,
                )
            )
        self.jit_compile = jit

    def _build_losses(self, x, y):
        """Builds the compiled loss and metrics on one task's data, eagerly."""
        count = len(self.model.trainable_variables)
        if count != len(self.adapted):
            raise ValueError(
                "The model's trainable variables must stay those with which the "
                f"MetaTrainer was made. Received: {count} instead of "
                f"{len(self.adapted)}. Set `trainable` first, then make a new one."
            )
        y_pred = self.model(x, training=False)
        episode_checks.check_prediction(y, y_pred)
        self.compute_loss(x=x, y=y, y_pred=y_pred)
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred)
            self._compile_metrics.reset_state()
            names = list(self._compile_metrics.result())
        else:
            names = []
        if [t.name for t in self._trackers] != ["loss", *names]:
            self._trackers = tuple(keras.metrics.Mean(n) for n in ["loss", *names])

    def _task_engine(self, task_axis):
        return TaskEngine(
            TaskModel(
                self.model,
                self.compute_loss,
                self._compile_metrics,
                self.batch_statistics,
            ),
            self.inner_optimizer,
            self.adapted,
            self._unpacked,
            self.meta_gradient == "first_order",
            task_axis,
            [tracker.name for tracker in self._trackers[1:]],
        )

    def check_steps(self, steps_per_epoch):
        """Raises ValueError unless `compile`'s steps per execution divide this."""
        chosen = self._steps_choice
        if chosen is not None and steps_per_epoch is not None:
            if steps_per_epoch % chosen:
                raise ValueError(
                    "Argument `steps_per_epoch` must be a multiple of "
                    "`steps_per_execution`. Received: steps_per_epoch="
                    f"{steps_per_epoch}, steps_per_execution={chosen}."
                )

    def resolved_steps(self, steps_per_epoch):
        """Returns the steps per execution: `compile`'s, or what suits the epoch."""
        if self._steps_choice is None:
            if steps_per_epoch is None or self.run_eagerly:
                return 1
            most = MAX_STEPS_PER_EXECUTION[self._engine.task_axis]
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

    def _take_step(self, outer, gradients, statistics):
        variables = self.trainable_variables
        # `apply` divides by the scale: the gradients are those of the true loss.
        self.optimizer.apply(
            [self.optimizer.scale_loss(g) for g in gradients], variables
        )

        def keep():
            self._engine.keep_statistics(statistics)
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

    def _track(self, values):
        for tracker in self._trackers:
            tracker.update_state(values[tracker.name])
        return self.get_metrics_result()


def _nothing():
    pass


def _pair(episode):
    return tf.nest.map_structure(lambda part: tf.stack([part] * 2), episode)
