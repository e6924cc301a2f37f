"""A small meta-training, alone or as one of several workers.

`test_distributed_workers.py` starts it. As a program, `python distributed_run.py
FOLDER` writes into the folder what was learned, and what workers that differ say.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_meta

STEPS, EPOCHS, BATCH = 2, 3, 4
LONG_RUNS = {
    "truncated": "truncated",
    "pes": keras_meta.training.PES(sigma=0.1),
}


def training_problem(seed=0):
    """Returns a problem with a Keras loss that divides by the number of replicas."""
    generator = np.random.default_rng(int(seed))
    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer="l2")]
    )
    x = generator.normal(size=(32, 3)).astype("float32")
    loss = keras.losses.MeanSquaredError()
    return keras_meta.tasks.TrainingProblem(network, x, x[:, :2], loss, batch_size=8)


class Doubling(keras.metrics.Metric):
    """Starts at 1, and returns its variable as Keras' own examples do."""

    def __init__(self, name="doubling", **kwargs):
        super().__init__(name=name, **kwargs)
        self.state = self.add_weight(name="state", shape=(), initializer="ones")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.state.assign(2.0 * self.state + tf.reduce_mean(tf.abs(y_pred - y_true)))

    def result(self):
        return self.state

    def reset_state(self):
        self.state.assign(1.0)


class KilledOnce(keras.callbacks.Callback):
    """Ends worker 1 in the last epoch, as an out-of-memory killer does, once."""

    def __init__(self, folder):
        super().__init__()
        self.note = folder / "killed"

    def on_train_batch_end(self, batch, logs=None):
        if self.model.progress.value.numpy()[0] == EPOCHS - 1 and worker() == 1:
            if not self.note.exists():
                self.note.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)


class StopsAlone(keras.callbacks.Callback):
    """Worker 1 asks for an end, in the midst of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.progress.value.numpy()[0] == EPOCHS - 1 and worker() == 1:
            self.model.stop_training = True


def worker():
    """Returns this worker's number, 0 for one that is alone."""
    config = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))
    return config["task"]["index"]


def made(kind, strategy=None, outer=None, **settings):
    """Returns a compiled trainer and its tasks, in the strategy's scope if any."""
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        outer = outer or keras.optimizers.Adam(0.01, global_clipnorm=0.5)
        if kind in LONG_RUNS:
            optimizer = keras_meta.LSTMOptimizer(seed=0, hidden_size=3)
            trainer = keras_meta.OptimizerTrainer(
                optimizer, 8, 2, LONG_RUNS[kind], seed=3, **settings
            )
            trainer.compile(outer, jit_compile=False, steps_per_execution=1)
            if kind == "truncated":
                return trainer, training_problem()
            return trainer, keras_meta.tasks.Quadratic()
        model = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(1),
            ]
        )
        settings = {"seed": 7, "task_axis": "sequential"} | settings
        trainer = keras_meta.MetaTrainer(
            model,
            keras_meta.MetaSGD(alpha_init=0.05),
            meta_gradient=kind,
            batch_statistics="running",
            **settings,
        )
        metrics = ["mae", Doubling()]
        trainer.compile(outer, "mse", metrics, jit_compile=False, steps_per_execution=1)
    return trainer, keras_meta.tasks.Sinusoid(shots=5, queries=4)


def trained(kind, strategy=None, callbacks=(), epochs=EPOCHS, tasks=None, **settings):
    """Returns the trainer and the history of a short meta-training."""
    trainer, own_tasks = made(kind, strategy, **settings)
    history = trainer.fit(
        tasks or own_tasks,
        meta_batch_size=BATCH,
        steps_per_epoch=STEPS,
        epochs=epochs,
        validation_tasks=own_tasks if kind == "exact" else None,
        validation_episodes=3,
        callbacks=list(callbacks),
        verbose=0,
    )
    return trainer, history.history


def values(trainer):
    """Returns all weights as one array; those of the outer optimizer, too."""
    variables = [*trainer.weights, *trainer.optimizer.variables]
    return np.concatenate([np.ravel(v.value.numpy()) for v in variables])


def message_of(trainer, tasks, batch=BATCH, epochs=1, callbacks=None):
    """Returns what `fit` says when it refuses to start."""
    try:
        trainer.fit(
            tasks,
            meta_batch_size=batch,
            steps_per_epoch=1,
            epochs=epochs,
            callbacks=callbacks,
            verbose=0,
        )
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def disagreements(strategy):
    """Returns what is said where worker 1 differs, a dict of str."""
    other = worker() == 1
    trainer, tasks = made("exact", strategy, inner_steps=1 + other)
    said = {"settings": message_of(trainer, tasks, 8 if other else BATCH)}
    trainer, tasks = made("exact", strategy)
    said["odd"] = message_of(trainer, tasks, 5 if other else BATCH)
    said["epochs"] = message_of(trainer, tasks, epochs=0 if other else 1)
    lone = keras.callbacks.EarlyStopping("loss") if other else None
    said["callbacks"] = message_of(trainer, tasks, callbacks=lone)
    episodes = [tasks.sample(tf.constant([0, i], "int64")) for i in range(5)]
    dataset = tf.data.Dataset.from_tensor_slices(
        tuple(tf.stack(parts) for parts in zip(*episodes, strict=True))
    )
    said["order"] = message_of(trainer, dataset.skip(1) if other else dataset)
    said["data"] = message_of(made("truncated", strategy)[0], training_problem(other))
    trainer.meta_step.assign(2 if other else 0)
    said["loaded"] = message_of(trainer, tasks)
    trainer.meta_step.assign(0)
    if other:
        keras_meta.__version__ = "9.9"
    said["version"] = message_of(trainer, tasks)
    return said


def main(folder):
    folder = pathlib.Path(folder)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=1)
    # Worker 1 is killed in the last epoch of this one.
    runs = {"pes": ([backup, KilledOnce(folder)], EPOCHS)}
    runs["exact"] = ([StopsAlone()], EPOCHS + 1)
    for kind, (callbacks, epochs) in runs.items():
        trainer, history = trained(kind, strategy, callbacks, epochs)
        np.save(folder / f"{kind} {worker()}.npy", values(trainer))
        (folder / f"{kind} {worker()}.json").write_text(json.dumps(history))
    if worker() == 0:  # No other worker is needed.
        x = np.linspace(-1.0, 1.0, 5, dtype="float32")[:, None]
        adapted = trainer.adapt(x, 2.0 * x)
        np.save(folder / "adapted.npy", adapted.predict(x, verbose=0))
    said = disagreements(strategy)
    (folder / f"disagreements {worker()}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
