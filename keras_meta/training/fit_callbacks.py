"""What `MetaTrainer.fit` adds to Keras' callbacks."""

import keras
import tensorflow as tf


class NonFiniteGuard(keras.callbacks.Callback):
    """Stops meta-training when the meta-loss is no longer a number.

    It runs before the user's callbacks, so that none of them saves what is broken.
    """

    def on_train_begin(self, logs=None):
        self.model.non_finite.assign([-1, -1])

    def on_train_batch_end(self, batch, logs=None):
        step, task = self.model.non_finite.numpy().tolist()
        if step < 0:
            return
        seed = (2 * self.model.seed, task)
        raise FloatingPointError(
            "The meta-loss or its gradient became NaN or infinite at meta-step "
            f"{step}, with the task of seed {seed} (draw it again with `tasks.sample("
            f"tf.constant({list(seed)}, 'int64'))`). The meta-parameters were not "
            "changed by that step, and the last checkpoint stays. Go on from there "
            "with a smaller outer learning rate, an outer `clipnorm`, smaller inner "
            "rates or fewer inner steps; and check that task's data."
        )


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


class _NoteProgress(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.meta_step_before = int(self.model.meta_step)
        self.model.steps_to_skip = 0

    def on_epoch_begin(self, epoch, logs=None):
        start = int(self.model.meta_step) - self.model.steps_to_skip
        self.model.progress.assign(tf.constant([epoch, start], "int64"))

    def on_epoch_end(self, epoch, logs=None):
        step = int(self.model.meta_step)
        self.model.progress.assign(tf.constant([epoch + 1, step], "int64"))


class _ReadProgress(keras.callbacks.Callback):
    def __init__(self, before):
        super().__init__()
        self.before = before

    def on_train_begin(self, logs=None):
        if int(self.model.meta_step) == self.before.meta_step_before:
            return
        epochs, start = keras.ops.convert_to_numpy(self.model.progress).tolist()
        self.model._initial_epoch = epochs
        self.model.steps_to_skip = int(self.model.meta_step) - start
