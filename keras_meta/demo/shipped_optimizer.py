"""The demo's part on optimizers that ship, in plain `fit`, beside Adam."""

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
STEPS_PER_EPOCH = TRAINING_IMAGES // BATCH_SIZE
LEARNED = {
    "MetaAdam()": lambda steps: keras_meta.MetaAdam(),
    "MetaAdam(total_steps=...)": lambda steps: keras_meta.MetaAdam(total_steps=steps),
    'LSTMOptimizer(weights="default")': lambda steps: keras_meta.LSTMOptimizer(
        weights="default"
    ),
}


def compare(epochs, seeds, rates=RATES):
    """Trains a network on the digits with what ships and with Adam.

    Args:
        epochs: int, of 22 steps each.
        seeds: ints, of the first weights and the order of the images.
        rates: floats, Adam's; `DEFAULT_RATE` is one of them.

    Returns:
        Dict of JSON values: `losses`, from optimizer to the training loss after each of
        `steps`, mean over seeds and the 10 batches before; `val_accuracy`, from
        optimizer to its mean at the end; `best`, the name of the best Adam.
    """
    made = dict(LEARNED)
    for rate in rates:
        made[f"Adam({rate:g})"] = lambda steps, rate=rate: keras.optimizers.Adam(rate)
    steps = epochs * STEPS_PER_EPOCH
    curves, accuracies = {}, {}
    for name, optimizer in made.items():
        runs = [_trained(optimizer(steps), epochs, seed) for seed in seeds]
        curves[name] = np.mean([losses for losses, _ in runs], axis=0)
        accuracies[name] = float(np.mean([accuracy for _, accuracy in runs]))
    shown = [s for s in SHOWN_STEPS if s <= steps]
    losses = {
        name: [float(curve[max(s - 10, 0) : s].mean()) for s in shown]
        for name, curve in curves.items()
    }
    ends = {name: curves[name][-10:].mean() for name in curves if name not in LEARNED}
    return {
        "steps": shown,
        "losses": losses,
        "val_accuracy": accuracies,
        "best": min(ends, key=ends.get),
    }


def show(results):
    """Prints the shipped optimizers, Adam's default and Adam's best rate."""
    table = rich.table.Table(
        title="Training loss after so many steps",
        caption=f"A network of {UNITS} units on all ten digits, which these "
        "optimizers were not learned on. Adam's best rate is that of the least loss "
        "at the end.",
    )
    for name in ("optimizer", *map(str, results["steps"]), "validation accuracy"):
        table.add_column(name)
    rows = {name: name for name in LEARNED}
    rows[f"Adam({DEFAULT_RATE:g})"] = "Adam, default rate"
    rows.setdefault(results["best"], "")
    for name, label in rows.items():
        if name == results["best"]:
            label = f"{name}, best of {len(results['losses']) - len(LEARNED)} rates"
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
