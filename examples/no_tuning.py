"""Train a family of models, a model a table, with one optimizer that nobody tunes.

Four of scikit-learn's tables stand for a user's shops or sensors: classes and numbers,
150 to 1,797 rows, networks of one to three layers. Each is trained by plain `compile`
and `fit` with `MetaAdam()`, with `MetaAdam(total_steps=...)`, with Keras' Adam as it
comes, and with Adam at the best of five rates for that very table. The last run has a
batch of NaN in every epoch, which the safeguard skips; its counters are in the logs.

Run it with `python examples/no_tuning.py`; it needs scikit-learn, and about three
minutes on two cores. Writes no_tuning.csv into `--folder`.
"""

import argparse
import functools
import pathlib

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

import keras_meta

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
BATCH_SIZE = 16


def table(load):
    """Returns float32 `(rows, features)` and classes or numbers, standardised."""
    x, y = load(return_X_y=True)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    if len(np.unique(y)) > 20:
        return x.astype("float32"), ((y - y.mean()) / y.std()).astype("float32")
    return x.astype("float32"), y


def trained(x, y, units, optimizer, epochs, callbacks=()):
    """Returns the history of `fit`, a quarter of the rows held out."""
    keras.utils.set_random_seed(0)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    outputs = 1 if y.dtype.kind == "f" else int(y.max()) + 1
    loss = "mse"
    if outputs > 1:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    hidden = [keras.layers.Dense(width, "relu") for width in units]
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), *hidden, keras.layers.Dense(outputs)]
    )
    model.compile(optimizer, loss)
    return model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_split=0.25,
        callbacks=list(callbacks),
        verbose=0,
    ).history


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path())
    options = parser.parse_args()
    family = {
        "breast cancer": (load_breast_cancer, (32,)),
        "wine": (load_wine, (64, 32)),
        "digits": (load_digits, (48, 48, 48)),
        "diabetes": (load_diabetes, (32, 32)),
    }
    if options.quick:
        family = {"wine": family["wine"]}
    epochs, rates = (2, RATES[-2:]) if options.quick else (15, RATES)
    for name, (load, units) in family.items():
        x, y = table(load)
        run = functools.partial(trained, x, y, units, epochs=epochs)
        steps = epochs * -(-int(0.75 * len(x)) // BATCH_SIZE)
        ends = {
            "MetaAdam()": run(optimizer=keras_meta.MetaAdam()),
            f"MetaAdam(total_steps={steps})": run(
                optimizer=keras_meta.MetaAdam(total_steps=steps)
            ),
            "Adam()": run(optimizer=keras.optimizers.Adam()),
        }
        tried = {rate: run(optimizer=keras.optimizers.Adam(rate)) for rate in rates}
        best = min(tried, key=lambda rate: tried[rate]["loss"][-1])
        ends[f"Adam({best:g}), best of {len(rates)}"] = tried[best]
        print(f"{name}, {steps} steps: loss of the last epoch, validation loss")
        for label, history in ends.items():
            print(f"  {label:32} {history['loss'][-1]:.4f}", end="  ")
            print(f"{history['val_loss'][-1]:.4f}")

    x[5] = np.nan  # Somebody's sensor fails.
    path = options.folder / "no_tuning.csv"
    history = trained(
        x,
        y,
        units,
        keras_meta.MetaAdam(),
        epochs,
        [keras_meta.optimizers.OptimizerLog(), keras.callbacks.CSVLogger(str(path))],
    )
    print(f"with NaN among the rows: {history['optimizer_skipped_steps'][-1]} steps")
    print(f"skipped, see {path}")
    if options.quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
