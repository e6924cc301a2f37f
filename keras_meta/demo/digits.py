"""The demo's data and network: scikit-learn's digits, never seen against seen."""

import keras
import numpy as np

from keras_meta.tasks.few_shot import FewShotClassification

# 3, 4 and 7 look different in each of the four directions (1, 0 and 8 do not, 6
# turned is 9), so that each of the test digits gives four real classes.
TEST_DIGITS = (3, 4, 7)
TRAINING_DIGITS = (0, 1, 2, 5, 6, 8, 9)
WAYS = 5
QUERIES = 15
FILTERS = 32
BRIGHTEST = 16.0


def load():
    """Returns the digits: images float32 `(1797, 8, 8)` in [0, 1], and labels."""
    # Here: only the demo's extra installs it; `run.main` says so if it is missing.
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / BRIGHTEST).astype("float32"), digits.target.astype("int32")


def tasks(digits, shots):
    """Returns five-way tasks on some digits, each direction a class of its own.

    Args:
        digits: tuple of ints.
        shots: int, examples of a class in the support set.
    """
    images, labels = load()
    chosen = np.isin(labels, digits)
    return FewShotClassification(
        images[chosen],
        labels[chosen],
        ways=WAYS,
        shots=shots,
        queries=QUERIES,
        rotations=True,
    )


def classification(digits):
    """Returns every image in four directions, and its class, for pretraining.

    Returns:
        Tuple `(x, y)`: float32 `(4 n, 8, 8, 1)` and int32 `(4 n,)`.
    """
    images, labels = load()
    chosen = np.isin(labels, digits)
    number = np.searchsorted(np.asarray(digits), labels[chosen])
    turned = [np.rot90(images[chosen], turns, axes=(1, 2)) for turns in range(4)]
    x = np.concatenate(turned)[..., None]
    y = np.concatenate([number * 4 + turns for turns in range(4)])
    return x, y.astype("int32")


def network(outputs=WAYS, seed=0):
    """Returns the network that everything in the demo trains."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(FILTERS, 3, activation="relu"),
            layers.Conv2D(FILTERS, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(outputs),
        ],
        name="digits",
    )


def cross_entropy():
    """Returns the loss of everything in the demo, from logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
