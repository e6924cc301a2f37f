"""A small meta-training that can be killed; `test_fit_callbacks.py` runs it."""

import os
import signal

import keras
import numpy as np
import tensorflow as tf
from keras.src.callbacks import backup_and_restore

import keras_meta

STEPS, EPOCHS = 4, 3


class KilledAt(keras.callbacks.Callback):
    """Ends the process, as the system's out-of-memory killer does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.moment = (epoch, batch)
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.moment == (epoch, None):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, batch, logs=None):
        if self.moment == (self.epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)


def run(backup=None, kind="distribution", moment=None):
    """Meta-trains for three epochs of four steps; returns `(trainer, history)`."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(3, "tanh"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    trainer = keras_meta.MetaTrainer(
        model, keras_meta.MetaSGD(seed=0), task_axis="sequential", seed=3
    )
    trainer.compile(
        keras.optimizers.Adam(0.01), "mse", jit_compile=False, steps_per_execution=1
    )
    tasks = keras_meta.tasks.Sinusoid(shots=3, queries=3)
    steps = STEPS
    if kind == "shuffled dataset":
        seeds = [tf.constant([0, i], "int64") for i in range(2 * STEPS)]
        parts = zip(*[tasks.sample(seed) for seed in seeds], strict=True)
        tasks = tf.data.Dataset.from_tensor_slices(tuple(np.stack(p) for p in parts))
        tasks = tasks.shuffle(2 * STEPS, seed=5)
        steps = None
    callbacks = []
    if backup is not None:
        frequency = 1 if moment == "in mid-epoch" else "epoch"
        callbacks.append(keras.callbacks.BackupAndRestore(backup, frequency))
    if moment == "between epochs":
        callbacks.append(KilledAt(2, None))
    if moment == "in mid-epoch":
        callbacks.append(KilledAt(1, 1))
    if moment == "between the files":
        _die_at_the_second_metadata()
    history = trainer.fit(
        tasks,
        meta_batch_size=2,
        steps_per_epoch=steps,
        epochs=EPOCHS,
        callbacks=callbacks,
        verbose=0,
    )
    return trainer, history


def _die_at_the_second_metadata():
    dumps, calls = backup_and_restore.json.dumps, []

    def dying_dumps(value):
        calls.append(value)
        if len(calls) == 2 and "epoch" in value:
            os._exit(9)
        return dumps(value)

    class DyingJson:
        loads = staticmethod(backup_and_restore.json.loads)
        dumps = staticmethod(dying_dumps)

    backup_and_restore.json = DyingJson
