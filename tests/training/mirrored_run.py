"""What two replicas of a `MirroredStrategy` do; `test_distributed.py` runs it.

As a program, since a process has its devices once and for all. It prints JSON.
"""

import contextlib
import io
import json
import sys
import tempfile
import warnings
from unittest import mock

import tensorflow as tf

CPU = tf.config.list_physical_devices("CPU")[0]
HALVES = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(CPU, HALVES)

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_meta  # noqa: E402
from keras_meta.training.distributed import synchronise  # noqa: E402
from keras_meta.training.distributed.replicas import Replicas  # noqa: E402
from keras_meta.training.task_reduction import (  # noqa: E402
    TASK_REDUCTIONS,
    reduce_tasks,
)
from tests.training.distributed_run import (  # noqa: E402
    BATCH,
    EPOCHS,
    STEPS,
    made,
    trained,
    values,
)

STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
SINUSOIDS = keras_meta.tasks.Sinusoid(shots=5, queries=4)


def copies_of(trainer):
    """Returns what each replica holds, but for the places of its own long runs."""
    variables = [*trainer.weights, *trainer.optimizer.variables]
    results = [STRATEGY.experimental_local_results(v.value) for v in variables]
    return [
        np.concatenate([np.ravel(copy[place].numpy()) for copy in results])
        for place in range(2)
    ]


class CountsTests(keras.callbacks.Callback):
    """Counts what validation calls."""

    def __init__(self):
        super().__init__()
        self.calls = {"begin": 0, "batch begin": 0, "batch end": 0, "end": 0}

    def on_test_begin(self, logs=None):
        self.calls["begin"] += 1

    def on_test_batch_begin(self, batch, logs=None):
        self.calls["batch begin"] += 1

    def on_test_batch_end(self, batch, logs=None):
        self.calls["batch end"] += 1

    def on_test_end(self, logs=None):
        self.calls["end"] += 1


def differences(kind, make_tasks=None, **settings):
    """Returns how far two replicas end from one device, and from each other."""
    tasks = make_tasks and make_tasks()
    calls = [CountsTests(), CountsTests()]
    alone, one_history = trained(kind, None, calls[:1], tasks=tasks, **settings)
    # Anew: a dataset that shuffles would go on from where it is.
    tasks = make_tasks and make_tasks()
    shared, history = trained(kind, STRATEGY, calls[1:], tasks=tasks, **settings)
    result = compared(kind, alone, one_history, shared, history)
    return {**result, "test calls": [each.calls for each in calls]}


def resumed():
    """Returns `differences` of two replicas that go on from one device's backup."""
    kind = "truncated"
    with tempfile.TemporaryDirectory() as folder:
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        tasks = made(kind)[1]  # Its runs go on in a second fit on the same tasks.
        alone, _ = trained(kind, None, [backup], epochs=1, tasks=tasks)
        history = alone.fit(
            tasks,
            meta_batch_size=BATCH,
            steps_per_epoch=STEPS,
            epochs=EPOCHS,
            initial_epoch=1,
            verbose=0,
        ).history
        shared = trained(kind, STRATEGY, [backup])
    return compared(kind, alone, history, *shared)


class Interrupts(keras.callbacks.Callback):
    """Ends training amid the last epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.progress.value.numpy()[0] == EPOCHS - 1:
            raise KeyboardInterrupt


def interrupted(kind):
    """Returns `differences` of runs that are saved after an end amid an epoch."""
    ended = []
    for strategy in (None, STRATEGY):
        trainer, tasks = made(kind, strategy)
        with contextlib.suppress(KeyboardInterrupt):
            trainer.fit(
                tasks,
                meta_batch_size=BATCH,
                steps_per_epoch=STEPS,
                epochs=EPOCHS,
                callbacks=[Interrupts()],
                verbose=0,
            )
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/ended.weights.h5"
            with warnings.catch_warnings(record=True) as warned:
                # In several processes nobody could be asked.
                with mock.patch.object(synchronise, "has_several_workers") as several:
                    several.return_value = True
                    trainer.save_weights(path)
            trainer.save_weights(path)
        ended += [trainer, trainer.history.history]
    return {**compared(kind, *ended), "warned": [str(w.message) for w in warned]}


def compared(kind, alone, one_history, shared, history):
    first, second = copies_of(shared)
    return {
        "from one": float(np.abs(values(shared) - values(alone)).max()),
        "from each other": float(np.abs(first - second).max()),
        "of logs": max(
            float(np.abs(np.subtract(history[name], one_history[name])).max())
            for name in one_history
        ),
        "moved": moved(alone, made(kind)[0]),
    }


def moved(trainer, new):
    """Returns how far a trainer's learned weights are from those of a new one."""
    pairs = zip(trainer.trainable_variables, new.trainable_variables, strict=True)
    return max(float(np.abs(after.numpy() - old.numpy()).max()) for after, old in pairs)


def difference_of_reduction(reduction):
    """Returns the largest difference of meta-loss and gradients to one device's."""
    generator = np.random.default_rng(0)
    losses = tf.constant(generator.normal(size=6), "float32")
    gradients = [tf.constant(generator.normal(size=(6, 3)), "float32")]
    replicas = Replicas(2)

    def of_replica():
        loss, [gradient] = reduce_tasks(
            reduction, replicas.own(losses), [replicas.own(gradients[0])], replicas
        )
        return replicas.sum([loss, gradient])

    shared = tf.function(lambda: STRATEGY.run(of_replica), autograph=False)()
    loss, [gradient] = reduce_tasks(reduction, losses, gradients)
    pairs = zip(shared, (loss, gradient), strict=True)
    return max(
        float(tf.reduce_max(tf.abs(copy - wanted)))
        for value, wanted in pairs
        for copy in STRATEGY.experimental_local_results(value)
    )


def eight_episodes():
    """Returns a tuple of arrays `(8, ...)`, the parts of eight episodes."""
    episodes = [SINUSOIDS.sample(tf.constant([0, i], "int64")) for i in range(8)]
    return tuple(np.stack(parts) for parts in zip(*episodes, strict=True))


def shuffled():
    return tf.data.Dataset.from_tensor_slices(eight_episodes()).shuffle(8, seed=0)


class Snapshot(keras.callbacks.Callback):
    """Keeps what the first meta-step led to."""

    def on_train_batch_end(self, batch, logs=None):
        self.values = values(self.model)


def fault():
    """Trains on a dataset with one endless loss, in the second meta-batch."""
    episodes = eight_episodes()
    episodes[3][7] *= np.float32(1e30)
    dataset = tf.data.Dataset.from_tensor_slices(episodes)
    trainer, _ = made("first_order", STRATEGY)
    first = Snapshot()
    try:
        trainer.fit(
            dataset, 4, steps_per_epoch=2, callbacks=[first], verbose=0, epochs=1
        )
    except FloatingPointError as error:
        changed = np.abs(values(trainer) - first.values).max()
        steps = trainer.meta_steps_taken
        return {"message": str(error), "changed": float(changed), "steps": steps}
    return {"message": "no error"}


def message_of(function, *arguments, **settings):
    try:
        function(*arguments, **settings)
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def fit(trainer, tasks=SINUSOIDS, batch=4, scope=None, steps=1):
    with scope.scope() if scope else contextlib.nullcontext():
        trainer.fit(tasks, meta_batch_size=batch, steps_per_epoch=steps, verbose=0)


def optimizer_outside():
    outer = keras.optimizers.Adam(0.01)
    fit(made("first_order", STRATEGY, outer)[0])


def learned_optimizer_outside():
    learned = keras_meta.MetaSGD()
    with STRATEGY.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        trainer = keras_meta.MetaTrainer(model, learned)
        trainer.compile("sgd", "mse")


def model_outside():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with STRATEGY.scope():
        trainer = keras_meta.MetaTrainer(model, keras_meta.SGD(0.1))
        trainer.compile("sgd", "mse")
    fit(trainer)


def with_outer(**settings):
    with STRATEGY.scope():
        outer = keras.optimizers.Adam(0.01, **settings)
    fit(made("first_order", STRATEGY, outer)[0])


def messages():
    quadratics = [keras_meta.tasks.Quadratic(), keras_meta.tasks.Quadratic(4)]
    trainer = made("first_order", STRATEGY)[0]
    unknown = shuffled().filter(lambda *parts: True)
    return {
        "odd meta-batch": message_of(fit, trainer, batch=5),
        "one task": message_of(fit, trainer, batch=1),
        "unknown length": message_of(fit, trainer, unknown, steps=None),
        "odd runs": message_of(fit, made("truncated", STRATEGY)[0], quadratics, 6),
        "trainer outside": message_of(fit, made("exact")[0], scope=STRATEGY),
        "optimizer outside": message_of(optimizer_outside),
        "learned optimizer outside": message_of(learned_optimizer_outside),
        "model outside": message_of(model_outside),
        "average": message_of(with_outer, use_ema=True),
        "accumulated": message_of(with_outer, gradient_accumulation_steps=2),
    }


def main():
    printed = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):
        results = {
            "exact": differences("exact", task_axis="vectorize"),
            "first_order": differences("first_order", shuffled, task_reduction="cvar"),
            "truncated": resumed(),
            "pes": interrupted("pes"),
            "reductions": {n: difference_of_reduction(n) for n in TASK_REDUCTIONS},
            "fault": fault(),
            "messages": messages(),
        }
    print(json.dumps(results), file=printed)


if __name__ == "__main__":
    main()
