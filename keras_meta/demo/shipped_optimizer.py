"""The demo's last part: an optimizer that ships, in plain `fit`, beside Adam."""

import keras
import numpy as np
import rich.console
import rich.table

import keras_meta
from keras_meta.demo import digits

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
DEFAULT_RATE = 1e-3
BATCH_SIZE = 64
UNITS = 64
TRAINING_IMAGES = 1408  # the first ones; the rest is for validation
SHOWN_STEPS = (25, 50, 100, 200)
LEARNED = 'LSTMOptimizer(weights="default")'


def compare(epochs, seeds):
    """Trains a network on the digits with the shipped weights and with Adam.

    Args:
        epochs: int, of 22 steps each.
        seeds: ints, of the first weights and the order of the images.

    Returns:
        Dict of JSON values: `losses`, from optimizer to the training loss after each of
        `steps`, mean over seeds and the 10 batches before; `val_accuracy`, from
        optimizer to its mean at the end; `best`, the name of the best Adam.
    """
    made = {LEARNED: lambda: keras_meta.LSTMOptimizer(weights="default")}
    for rate in RATES:
        made[f"Adam({rate:g})"] = lambda rate=rate: keras.optimizers.Adam(rate)
    curves, accuracies = {}, {}
    for name, optimizer in made.items():
        runs = [_trained(optimizer(), epochs, seed) for seed in seeds]
        curves[name] = np.mean([losses for losses, _ in runs], axis=0)
        accuracies[name] = float(np.mean([accuracy for _, accuracy in runs]))
    steps = [s for s in SHOWN_STEPS if s <= len(curves[LEARNED])]
    losses = {
        name: [float(curve[max(s - 10, 0) : s].mean()) for s in steps]
        for name, curve in curves.items()
    }
    ends = {name: curves[name][-10:].mean() for name in curves if name != LEARNED}
    return {
        "steps": steps,
        "losses": losses,
        "val_accuracy": accuracies,
        "best": min(ends, key=ends.get),
    }


def show(results):
    """Prints the shipped optimizer, Adam's default and Adam's best rate."""
    table = rich.table.Table(
        title="Training loss after so many steps",
        caption=f"A network of {UNITS} units on all ten digits, which its weights were "
        "not learned on. Adam's best rate is that of the least loss at the end.",
    )
    for name in ("optimizer", *map(str, results["steps"]), "validation accuracy"):
        table.add_column(name)
    rows = {LEARNED: LEARNED, f"Adam({DEFAULT_RATE:g})": "Adam, default rate"}
    rows.setdefault(results["best"], "")
    for name, label in rows.items():
        if name == results["best"]:
            label = f"{name}, best of {len(RATES)} rates"
        losses = [f"{loss:.3f}" for loss in results["losses"][name]]
        table.add_row(label, *losses, f"{results['val_accuracy'][name]:.3f}")
    rich.console.Console().print(table)


def _trained(optimizer, epochs, seed):
    """Returns the loss of every batch `(steps,)`, and the validation accuracy."""
    images, labels = digits.load()
    x = images.reshape(len(images), -1)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(UNITS, "relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(optimizer, digits.cross_entropy(), metrics=["accuracy"])
    batches = BatchLosses()
    model.fit(
        x[:TRAINING_IMAGES],
        labels[:TRAINING_IMAGES],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        callbacks=[batches],
        verbose=0,
    )
    left = x[TRAINING_IMAGES:], labels[TRAINING_IMAGES:]
    return np.array(batches.losses), model.evaluate(*left, verbose=0)[1]


class BatchLosses(keras.callbacks.Callback):
    """Keeps the loss of each batch; Keras' logs hold the epoch's mean so far.

    It is exact for batches of equal size.
    """

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self._total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = (batch + 1) * logs["loss"]
        self.losses.append(total - self._total)
        self._total = total
