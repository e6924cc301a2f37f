"""Workers end their training in the same epoch."""

import keras

from keras_meta.training.distributed.synchronise import any_of_all


class StopTogether(keras.callbacks.Callback):
    """Ends training on every worker, at the end of an epoch in which one asks for it.

    A worker that stops alone leaves the others waiting for it. It runs after the
    user's callbacks, on every worker. `stop_training` that is set within an epoch
    waits for the epoch's end: workers say nothing of it to each other before.
    """

    def on_train_begin(self, logs=None):
        self.is_asked = False
        self.any_of_all = any_of_all(self.model.distribute_strategy)

    def on_train_batch_end(self, batch, logs=None):
        self.is_asked |= self.model.stop_training
        self.model.stop_training = False

    def on_epoch_end(self, epoch, logs=None):
        is_asked = self.is_asked or self.model.stop_training
        self.model.stop_training = self.any_of_all(is_asked)
