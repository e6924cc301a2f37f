"""A callback that puts what a learned optimizer does into the logs of `fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

PREFIX = "optimizer_"


class OptimizerLog(keras.callbacks.Callback):
    """Adds an optimizer's own figures to the logs at the end of each epoch.

    For `MetaAdam` and `Safeguarded`: `optimizer_trust`, `optimizer_skipped_steps`,
    `optimizer_loss_rises` and `optimizer_bounded_steps` (see
    `MetaAdam.safeguard_counters`); for `MetaAdam` also `optimizer_rate`, the geometric
    mean of the tensors' rates at the last step. Put it before the callbacks that write
    logs (`keras.callbacks.TensorBoard`, `CSVLogger`), which then write these too; they
    are in `fit`'s history as well.

    Raises:
        TypeError: when training begins, if the optimizer has no such figures.

    Example:

    >>> import keras, keras_meta, numpy
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras_meta.MetaAdam(), loss="mse")
    >>> x, y = numpy.ones((8, 3)), numpy.ones((8, 1))
    >>> history = model.fit(
    ...     x, y, callbacks=[keras_meta.optimizers.OptimizerLog()], verbose=0
    ... )
    >>> history.history["optimizer_trust"]
    [1.0]
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not hasattr(self._optimizer(), "safeguard_counters"):
            raise TypeError(
                "`OptimizerLog` needs a model compiled with a `keras_meta.MetaAdam` or "
                "`keras_meta.optimizers.Safeguarded`. Received: "
                f"{type(self._optimizer()).__name__}."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = self._optimizer()
        figures = dict(optimizer.safeguard_counters)
        rates = getattr(optimizer, "rates", None)
        if rates is not None and len(rates):
            figures["rate"] = float(np.exp(np.mean(np.log(rates))))
        if logs is not None:
            logs.update({PREFIX + name: value for name, value in figures.items()})

    def _optimizer(self):
        optimizer = self.model.optimizer
        # Under mixed precision Keras wraps the optimizer.
        return getattr(optimizer, "inner_optimizer", optimizer)
