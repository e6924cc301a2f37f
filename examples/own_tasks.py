"""Your own arrays, one task a group: adapt to a new group from a few of its rows.

Here a row is one of scikit-learn's handwritten digits: from its upper half (32
pixels) a network predicts the lower half (32 pixels). The group is the digit that
it shows; yours would be the user, the sensor or the shop. The digits 7, 8 and 9 are
new groups, kept back from training.

Run it with `python examples/own_tasks.py`; it needs scikit-learn.
"""

import argparse

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_meta

NEW_GROUPS = (7, 8, 9)


def load_table():
    """Returns x float32 `(1797, 32)` and y `(1797, 32)` in [0, 1], group `(1797,)`."""
    digits = load_digits()
    pixels = (digits.data / 16.0).astype("float32")  # (1797, 64)
    return pixels[:, :32], pixels[:, 32:], digits.target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few meta-steps only")
    quick = parser.parse_args().quick
    keras.utils.set_random_seed(0)

    x, y, group = load_table()
    new = np.isin(group, NEW_GROUPS)
    known_groups = keras_meta.tasks.from_groups(x[~new], y[~new], group[~new], shots=5)
    new_groups = keras_meta.tasks.from_groups(x[new], y[new], group[new], shots=5)

    model = keras.Sequential(
        [
            keras.Input((32,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(32, "sigmoid"),
        ]
    )
    # Mean squared errors of pixels have small gradients: the rates start large.
    optimizer = keras_meta.MetaSGD(alpha_init=(1.0, 3.0))
    trainer = keras_meta.MetaTrainer(model, optimizer, inner_steps=3, seed=0)
    trainer.compile(keras.optimizers.Adam(1e-3), loss="mse", metrics=["mae"])
    trainer.fit(
        known_groups,
        meta_batch_size=8,
        steps_per_epoch=10 if quick else 100,
        epochs=1 if quick else 10,
        verbose=2,
    )
    trainer.save_preset("own_tasks.kmeta", title="Lower halves of digits")

    error = trainer.evaluate(new_groups, episodes=20 if quick else 300, verbose=0)
    print("Mean absolute error of a pixel, in groups that were never seen:")
    pairs = zip(error["mae"]["mean"], error["mae"]["ci95"], strict=True)
    for step, (mean, interval) in enumerate(pairs):
        print(f"  after {step} steps on 5 rows: {mean:.4f} ± {interval:.4f}")
    if quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
