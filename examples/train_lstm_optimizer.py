"""Learn an optimizer for networks like yours, save it, and use it in plain Keras.

The user's table here is scikit-learn's digits. An `LSTMOptimizer` is meta-trained on
small networks of random size that learn it (`network_family`): first it imitates Adam,
then it minimises their losses. It is saved, loaded as on another day, and trains a
network three times as wide as any that it has seen, for twice as many steps, beside
Keras' Adam at its best rate of a grid. A picture of it is drawn, too.

Run it with `python examples/train_lstm_optimizer.py`; it needs scikit-learn and
matplotlib, and about ten minutes on two cores. Writes lstm_optimizer.kmeta and
lstm_optimizer.png into `--folder`.
"""

import argparse
import pathlib

import keras
from sklearn.datasets import load_digits

import keras_meta

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BATCH_SIZE = 64
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def digits():
    """Returns the user's table: float32 `(1797, 64)`, and classes `(1797,)`."""
    table = load_digits()
    return (table.data / 16.0).astype("float32"), table.target


def meta_train(x, y, quick):
    """Returns a trainer whose optimizer has learned to train small networks."""
    problems = keras_meta.tasks.network_family(
        x, y, count=1 if quick else 8, units=(8, 32), batch_size=BATCH_SIZE
    )
    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(inputs="normalized", seed=0),
        horizon=200,
        curriculum=1 if quick else 300,
        meta_objective="log",
        seed=0,
    )
    trainer.compile(keras.optimizers.Adam(3e-3, global_clipnorm=1.0))
    shared = {"meta_batch_size": len(problems), "verbose": 0 if quick else 2}
    trainer.fit(
        problems,
        teacher=keras_meta.optimizers.Adam(0.01),
        steps_per_epoch=2 if quick else 50,
        **shared,
    )
    trainer.fit(
        problems,
        steps_per_epoch=2 if quick else 50,
        epochs=1 if quick else 12,
        **shared,
    )
    return trainer, problems


def train(x, y, optimizer, epochs):
    """Trains a network with plain `compile` and `fit`; returns its last losses."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(96, "relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(optimizer=optimizer, loss=LOSS, metrics=["accuracy"])
    history = model.fit(
        x[:1400],
        y[:1400],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(x[1400:], y[1400:]),
        verbose=0,
    ).history
    return history["loss"][-1], history["val_loss"][-1], history["val_accuracy"][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--quick", action="store_true", help="a few steps only")
    options = parser.parse_args()
    x, y = digits()
    # The last 397 rows are not seen by anything but the comparison at the end.
    trainer, problems = meta_train(x[:1400], y[:1400], options.quick)
    path = options.folder / "lstm_optimizer.kmeta"
    trainer.save_preset(path, title="LSTM optimizer for small networks on digits")
    keras_meta.training.report_optimizer(
        trainer,
        problems[0],
        options.folder / "lstm_optimizer.png",
        steps=5 if options.quick else 200,
        episodes=2 if options.quick else 8,
        rates=RATES[:2] if options.quick else RATES,
    )

    epochs = 1 if options.quick else 18  # 22 steps each
    rows = {
        "LSTMOptimizer": train(x, y, keras_meta.LSTMOptimizer.from_preset(path), epochs)
    }
    for rate in RATES[:1] if options.quick else RATES:
        rows[f"Adam({rate:g})"] = train(x, y, keras.optimizers.Adam(rate), epochs)
    for name, (loss, val_loss, val_accuracy) in rows.items():
        print(
            f"{name:>14}: loss {loss:.3f}, validation loss {val_loss:.3f}, "
            f"validation accuracy {val_accuracy:.3f}"
        )
    if options.quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
