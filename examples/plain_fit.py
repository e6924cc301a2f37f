"""A learned optimizer in plain `compile` and `fit`, for a network of your own.

Three optimizers train the same new network on scikit-learn's digits, all ten
classes: a shipped preset's, fitted to this other architecture by `adapt_to`;
`MetaSGD(online=True)`, which needs no meta-training; and plain SGD with the same
first rates.

Run it with `python examples/plain_fit.py`; it needs scikit-learn.
"""

import argparse

import keras
from sklearn.datasets import load_digits

import keras_meta

PRESET = "digits_5way"
FIRST_RATE = 0.02


def build_model():
    """Returns a network that is not the preset's: other widths, ten classes."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(24, 3, activation="relu"),
            keras.layers.Conv2D(48, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one epoch only")
    quick = parser.parse_args().quick
    epochs = 1 if quick else 10

    digits = load_digits()
    x = (digits.images[..., None] / 16.0).astype("float32")  # (1797, 8, 8, 1)
    y = digits.target
    learned = keras_meta.MetaSGD.from_preset(PRESET)
    optimizers = {
        # Rates are matched by path and shape; where no shape fits, by their mean.
        f"{PRESET}, adapt_to": learned.adapt_to(build_model()),
        # Every weight's rate follows its hypergradient while `fit` runs.
        "MetaSGD(online=True)": keras_meta.MetaSGD(
            alpha_init=FIRST_RATE, online=True, hypergradient_rate=0.1, seed=0
        ),
        "SGD": keras.optimizers.SGD(FIRST_RATE),
    }
    for name, optimizer in optimizers.items():
        model = build_model()
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        history = model.fit(
            x[:1200],
            y[:1200],
            epochs=epochs,
            batch_size=32,
            validation_data=(x[1200:], y[1200:]),
            verbose=0,
        )
        accuracy = history.history["val_accuracy"][-1]
        print(f"{name}: accuracy {accuracy:.3f} after {epochs} epochs")
    if quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
