"""What `EpisodicModel.fit` adds to Keras' callbacks."""

import json
import pathlib

import keras
import tensorflow as tf

from keras_meta.training.distributed.synchronise import (
    copy_from_chief,
    gathering_of_runs,
    is_shared,
    rows_of_all,
)
from keras_meta.training.finite_guard import non_finite_message


class NonFiniteGuard(keras.callbacks.Callback):
    """Stops meta-training when the meta-loss is no longer a number.

    It runs before the user's callbacks, so that none of them saves what is broken.
    """

    def on_train_begin(self, logs=None):
        self.model.non_finite.assign([-1, -1])

    def on_train_batch_end(self, batch, logs=None):
        if self.model.non_finite.numpy()[0] >= 0:
            raise FloatingPointError(
                non_finite_message(self.model, *_noted_fault(self.model))
            )


def _noted_fault(trainer):
    """Returns the step and the task, the first that a replica has noted."""
    if not is_shared(trainer):
        return trainer.non_finite.numpy().tolist()
    rows = rows_of_all(trainer.distribute_strategy, lambda: trainer.non_finite)
    tasks = [task for _, task in rows.tolist() if task >= 0]
    return int(rows[0, 0]), tasks[0] if tasks else -1


class ResumePoint:
    """Makes a killed and restored run end where an undisturbed one does.

    `BackupAndRestore` writes the weights and then, in a second file, the epoch; a run
    killed between the two, or in the middle of an epoch, would repeat meta-steps that
    the weights already contain. The trainer's own weights say how far they are:
    `progress` is (finished epochs, meta-step at which the running epoch began).

    With several replicas, what the chief has restored goes to all of them; and before
    anything is saved, long runs are brought together.

    Args:
        saves_in_epochs: bool, whether a callback saves weights before an epoch's end.

    Attributes:
        at_epoch_end: callback that notes progress, to run before the user's.
        after_restore: callback that reads it back, to run after the user's.
    """

    def __init__(self, saves_in_epochs=False):
        self.at_epoch_end = _NoteProgress(saves_in_epochs)
        self.after_restore = _ReadProgress(self.at_epoch_end)


def mend_backup(callback):
    """Makes a `BackupAndRestore` readable after a kill in the midst of writing.

    Its second file may then be empty. The weights know the epoch, so what Keras
    reads there is without effect: see `ResumePoint`.

    Args:
        callback: `keras.callbacks.BackupAndRestore`.
    """
    path = pathlib.Path(callback.backup_dir) / "training_metadata.json"
    if path.is_file():
        try:
            json.loads(path.read_text())
        except ValueError:
            path.write_text(json.dumps({"epoch": 0, "batch": 0}))


class _NoteProgress(keras.callbacks.Callback):
    def __init__(self, saves_in_epochs):
        super().__init__()
        self.saves_in_epochs = saves_in_epochs
        self.gather_runs = None

    def on_train_begin(self, logs=None):
        self.gather_runs = gathering_of_runs(self.model)
        self.gather_runs()
        self.meta_step_before = self.model.meta_steps_taken
        self.model.steps_to_skip = 0
        self.model.batches_to_pass = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.start = self.model.meta_steps_taken - self.model.steps_to_skip
        self.model.progress.assign(tf.constant([epoch, self.start], "int64"))

    def on_train_batch_begin(self, batch, logs=None):
        self.model.runs_are_apart = True

    def on_train_batch_end(self, batch, logs=None):
        if self.saves_in_epochs:
            self.gather_runs()

    def on_epoch_end(self, epoch, logs=None):
        self.gather_runs()
        step = self.model.meta_steps_taken
        if step == self.start:
            raise ValueError(
                "The dataset must hold at least one meta-batch of "
                f"{self.model.meta_batch_size} episodes. Received: fewer. Lower "
                "`meta_batch_size`, or `.repeat()` the dataset."
            )
        self.model.progress.assign(tf.constant([epoch + 1, step], "int64"))


class _ReadProgress(keras.callbacks.Callback):
    def __init__(self, before):
        super().__init__()
        self.before = before

    def on_train_begin(self, logs=None):
        copy_from_chief(self.model)
        model, before = self.model, self.before.meta_step_before
        step = model.meta_steps_taken
        if step == before:
            return
        epochs, start = model.progress.value.numpy().tolist()
        model._initial_epoch = epochs
        model.steps_to_skip = step - start
        model.batches_to_pass = step - (before if model.data_repeats else start)
