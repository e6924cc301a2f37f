"""The Keras model whose training step is one meta-step."""

import keras
import tensorflow as tf

from keras_meta.optimizers.parameter_specs import specs_of
from keras_meta.training import episode_checks
from keras_meta.training.task_axis import can_jit
from keras_meta.training.task_engine import TaskEngine
from keras_meta.training.task_model import TaskModel
from keras_meta.training.task_reduction import reduce_tasks

# More steps a call than this gain nothing and make callbacks rare.
MAX_STEPS_PER_EXECUTION = {"vectorize": 100, "sequential": 10}


class MetaStepModel(keras.Model):
    """What `MetaTrainer` computes inside the graph, and the weights it learns.

    `MetaTrainer` sets the attributes that this class reads: the model, the inner
    optimizer, the choices of its constructor and of `compile`, and the task sources.
    """

    @property
    def trainable_variables(self):
        """What the outer optimizer changes: the initialisation and theta."""
        initialization = (
            self.model.trainable_variables if self.learn_initialization else []
        )
        return [*initialization, *getattr(self, "_theta_variables", ())]

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def losses(self):
        """The model's own losses: regularisers and `add_loss`."""
        return self.model.losses

    @property
    def metrics(self):
        """Means over tasks of the query loss and metrics after adaptation."""
        return list(getattr(self, "_trackers", ()))

    def theta_values(self):
        """Returns theta as a dict from name to float32 NumPy array."""
        return {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in zip(
                self._theta_names, self._theta_variables, strict=True
            )
        }

    def adapted_specs(self):
        """Returns the `(path, shape)` of the variables the inner loop changes."""
        return specs_of(
            [
                variable
                for variable, adapted in zip(
                    self.model.trainable_variables, self.adapted, strict=True
                )
                if adapted
            ]
        )

    def train_step(self, data):
        """Takes one meta-step. `data` is an `Episode` batch, or ignored."""
        replica = tf.distribute.get_replica_context()
        replicas = self.distribute_strategy.num_replicas_in_sync
        num_tasks = self._meta_batch_size // replicas
        first = tf.cast(self.meta_step.value, "int64") * self._meta_batch_size
        if replicas > 1:
            first += num_tasks * tf.cast(replica.replica_id_in_sync_group, "int64")
        if self._train_source.is_dataset:
            num_tasks = tf.shape(tf.nest.flatten(data)[0])[0]
            seeds = self._train_source.seeds(first, num_tasks)
            episodes = data
        else:
            seeds = self._train_source.seeds(first, num_tasks)
            episodes = self._train_source.sample(seeds)
        losses, metrics, gradients, statistics = self._engine.meta_gradients(
            self._outer_tensors(), episodes, seeds, self.inner_steps
        )
        meta_loss, gradients = reduce_tasks(self.task_reduction, losses, gradients)
        gradients = self._without_non_finite(seeds, losses, meta_loss, gradients)
        self.optimizer.apply(
            [g / replicas for g in gradients] if replicas > 1 else gradients,
            self.trainable_variables,
        )
        self._engine.keep_statistics(statistics)
        self.meta_step.assign_add(1)
        return self._track({"loss": losses, **metrics})

    def test_step(self, data):
        """Adapts to a batch of validation tasks; tracks the metrics afterwards."""
        if self._validation_source.is_dataset:
            episodes, number = data, 0
            num_tasks = tf.shape(tf.nest.flatten(data)[0])[0]
        else:
            episodes, number, num_tasks = None, data, self._meta_batch_size
        seeds = self._validation_source.seeds(number * self._meta_batch_size, num_tasks)
        if episodes is None:
            episodes = self._validation_source.sample(seeds)
        history = self._engine.history(
            self._outer_tensors(), episodes, seeds, self.inner_steps
        )
        return self._track({name: values[:, -1] for name, values in history.items()})

    def make_train_function(self, force=False):
        """Makes the graph of `steps_per_execution` meta-steps.

        Tasks that are drawn from seeds need no input, so all the steps of a call are
        one loop inside one compiled function; otherwise Keras' own function is used.
        """
        if self.train_function is not None and not force:
            return
        if (
            self.run_eagerly
            or self._train_source is None
            or self._train_source.is_dataset
            or self.distribute_strategy.num_replicas_in_sync > 1
        ):
            super().make_train_function(force=True)
            return
        num_steps = self.steps_per_execution

        def meta_steps():
            def body(index):
                self.train_step(None)
                return (index + 1,)

            tf.while_loop(
                lambda index: index < num_steps,
                body,
                (tf.constant(0),),
                maximum_iterations=num_steps,
                parallel_iterations=1,
            )
            return self.get_metrics_result()

        compiled = tf.function(
            meta_steps, jit_compile=self.jit_compile, autograph=False
        )

        def train_function(iterator):
            if self.steps_to_skip > 0:  # They are in the restored weights.
                self.steps_to_skip -= num_steps
                return self.get_metrics_result()
            return compiled()

        self.train_function = train_function

    def renew_functions(self):
        """Drops compiled functions that belong to other tasks or settings."""
        sources = (self._train_source, self._validation_source)
        key = (
            self._meta_batch_size,
            self.steps_per_execution,
            self.jit_compile,
            *(source and id(source.tasks) for source in sources),
        )
        if self._functions.get("fit", (None,))[0] != key:
            self.make_train_function(force=True)
            self.make_test_function(force=True)
            # The sources are kept with it, so that their ids stay their own.
            self._functions["fit"] = (key, sources)

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
            episodes = data if source.is_dataset else source.sample(seeds)
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

    def prepare(self, source):
        """Checks the tasks and settles the task axis and XLA; traces little."""
        episode_checks.check_episode(self, source)
        example = source.example()
        self._build_losses(example.support_x, example.support_y)
        if self._engine is not None:
            return
        self._engine = self._task_engine(self.task_axis)
        # Two tasks: `vectorized_map` leaves a single one unconverted.
        seeds = source.seeds(0, 2)
        episodes = tf.nest.map_structure(lambda part: tf.stack([part] * 2), example)
        if self.task_axis == "auto":
            vectorize = self._engine.tasks_vectorize(
                self._outer_tensors(), episodes, seeds, self.inner_steps
            )
            self._engine.task_axis = "vectorize" if vectorize else "sequential"
        jit = self._jit_choice
        if jit == "auto":
            accelerated = bool(
                tf.config.list_logical_devices("GPU")
                or tf.config.list_logical_devices("TPU")
            )
            jit = not self.run_eagerly and (
                accelerated or self._engine.task_axis == "vectorize"
            )
            jit = jit and can_jit(
                lambda: self._engine.meta_gradients(
                    self._outer_tensors(), episodes, seeds, self.inner_steps
                )
            )
        self.jit_compile = jit
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def _add_learned_weights(self):
        optimizer, specs = self.inner_optimizer, self.adapted_specs()
        theta = optimizer.theta_for(specs)
        if not theta and not self.learn_initialization:
            raise ValueError(
                "There is nothing to learn: learn_initialization=False, and "
                f"{type(optimizer).__name__} has no theta. Use "
                "`keras_meta.MetaSGD()`, or learn the initialisation."
            )
        self._theta_names = tuple(theta)
        self._theta_variables = tuple(
            self.add_weight(
                name=name.replace("/", "_"),
                shape=array.shape,
                dtype="float32",
                initializer=keras.initializers.Constant(array),
                trainable=True,
            )
            for name, array in theta.items()
        )
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

    def _outer_tensors(self):
        return [tf.convert_to_tensor(v.value) for v in self.trainable_variables]

    def _unpacked(self, outer):
        count = len(self.model.trainable_variables)
        if self.learn_initialization:
            parameters, theta = list(outer[:count]), outer[count:]
        else:
            parameters = [
                tf.convert_to_tensor(v.value) for v in self.model.trainable_variables
            ]
            theta = outer
        return dict(zip(self._theta_names, theta, strict=True)), parameters

    def _build_losses(self, x, y):
        """Builds the compiled loss and metrics on one task's data, eagerly."""
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

    def _resolved_steps(self, steps_per_epoch):
        if self._steps_choice is None:
            if steps_per_epoch is None or self.run_eagerly:
                return 1
            most = MAX_STEPS_PER_EXECUTION[self._engine.task_axis]
            return max(n for n in range(1, most + 1) if steps_per_epoch % n == 0)
        if steps_per_epoch is not None and steps_per_epoch % self._steps_choice:
            raise ValueError(
                "Argument `steps_per_epoch` must be a multiple of "
                "`steps_per_execution`. Received: steps_per_epoch="
                f"{steps_per_epoch}, steps_per_execution={self._steps_choice}."
            )
        return self._steps_choice

    def _without_non_finite(self, seeds, losses, meta_loss, gradients):
        """Notes the first step that is not finite, and stops its gradients."""
        checks = tf.stack([meta_loss, *[tf.reduce_sum(g) for g in gradients]])
        finite = tf.reduce_all(tf.math.is_finite(checks))
        first_bad = tf.argmax(tf.cast(~tf.math.is_finite(losses), "int32"))
        note = tf.stack(
            [tf.cast(self.meta_step.value, "int64"), tf.gather(seeds[:, 1], first_bad)]
        )
        known = self.non_finite
        good = finite & (known[0] < 0)
        known.assign(tf.where(good | (known[0] >= 0), known, note))
        return [tf.where(good, g, tf.zeros_like(g)) for g in gradients]

    def _track(self, values):
        for tracker in self._trackers:
            tracker.update_state(values[tracker.name])
        return self.get_metrics_result()
