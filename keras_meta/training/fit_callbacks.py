"""What `EpisodicModel.fit` adds to Keras' callbacks."""

import json
import pathlib

import keras
import tensorflow as tf

from keras_meta.training.finite_guard import non_finite_message


class NonFiniteGuard(keras.callbacks.Callback):
    """Stops meta-training when the meta-loss is no longer a number.

    It runs before the user's callbacks, so that none of them saves what is broken.
    """

    def on_train_begin(self, logs=None):
        self.model.non_finite.assign([-1, -1])

    def on_train_batch_end(self, batch, logs=None):
        if self.model.non_finite.numpy()[0] >= 0:
            raise FloatingPointError(non_finite_message(self.model))


class ResumePoint:
    """Makes a killed and restored run end where an undisturbed one does.

    `BackupAndRestore` writes the weights and then, in a second file, the epoch; a run
    killed between the two, or in the middle of an epoch, would repeat meta-steps that
    the weights already contain. The trainer's own weights say how far they are:
    `progress` is (finished epochs, meta-step at which the running epoch began).

    Attributes:
        at_epoch_end: callback that notes progress, to run before the user's.
        after_restore: callback that reads it back, to run after the user's.
    """

    def __init__(self):
        self.at_epoch_end = _NoteProgress()
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
    def on_train_begin(self, logs=None):
        self.meta_step_before = int(self.model.meta_step)
        self.model.steps_to_skip = 0
        self.model.batches_to_pass = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.start = int(self.model.meta_step) - self.model.steps_to_skip
        self.model.progress.assign(tf.constant([epoch, self.start], "int64"))

    def on_epoch_end(self, epoch, logs=None):
        step = int(self.model.meta_step)
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
        model, before = self.model, self.before.meta_step_before
        step = int(model.meta_step)
        if step == before:
            return
        epochs, start = keras.ops.convert_to_numpy(model.progress).tolist()
        model._initial_epoch = epochs
        model.steps_to_skip = step - start
        model.batches_to_pass = step - (before if model.data_repeats else start)
