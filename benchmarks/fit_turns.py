"""A callback that lets `fit` take turns with other processes, see `turns.py`."""

import sys
import time

import keras


class FitTurns(keras.callbacks.Callback):
    """Prints `ready` after the first epoch; then an epoch, and its seconds, a line."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            print("ready", flush=True)
        if epoch >= 1 and not sys.stdin.readline():
            self.model.stop_training = True
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= 1 and not self.model.stop_training:
            print(time.perf_counter() - self.start, flush=True)
