"""A small meta-training of an optimizer that can be killed in the second epoch.

`test_optimizer_trainer.py` runs it.
"""

import os
import signal

import keras

import keras_meta


class Killed(keras.callbacks.Callback):
    """Ends the process, as the system's out-of-memory killer does."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.meta_step) == 4:
            os.kill(os.getpid(), signal.SIGKILL)


def run(backup=None, kill=False):
    """Meta-trains for three epochs of three steps; returns the trainer."""
    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(hidden_size=3, seed=0),
        horizon=8,
        truncation=2,
        meta_gradient="pes",
        seed=5,
    )
    trainer.compile(
        keras.optimizers.Adam(0.01), jit_compile=False, steps_per_execution=1
    )
    callbacks = []
    if backup is not None:
        callbacks.append(keras.callbacks.BackupAndRestore(backup))
    if kill:
        callbacks.append(Killed())
    trainer.fit(
        keras_meta.tasks.Quadratic(3),
        meta_batch_size=4,
        steps_per_epoch=3,
        epochs=3,
        callbacks=callbacks,
        verbose=0,
    )
    return trainer
