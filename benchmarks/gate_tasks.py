"""The release gate's tasks: Keras models and data that no meta-training has seen.

Meta-training and the choice of its checkpoints see none of these data
(`benchmarks/meta_adam/families.py`, `validation.py`).
"""

import dataclasses
from collections.abc import Callable

import gate_data as data
import gate_models as models
import keras
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

layers = keras.layers


@dataclasses.dataclass
class Task:
    """A model, its data and how it is compiled.

    Args:
        build: `build()` returns a new model.
        data: `data()` returns `(x, y, validation x, validation y)`.
        loss: Keras loss.
        metrics: list of Keras metrics' names.
        batch_size: int.
        long: bool, whether the task is also run for 10,000 steps.
        xla: bool, `jit_compile` of every run; False where it is slower on a CPU
            (convolutions, dropout).
    """

    build: Callable
    data: Callable
    loss: object
    metrics: list
    batch_size: int
    long: bool = False
    xla: bool = True


def gate_tasks():
    """Returns dict of name to `Task`."""
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy, norm = ["accuracy"], layers.LayerNormalization
    pictures, letter = (
        data.reshaped(data.fashion, data.flat),
        data.reshaped(data.letters, data.flat),
    )
    thirds = data.reshaped(data.fashion, lambda x: data.flat(x)[:, ::3])
    small = data.reshaped(data.letters, data.halved)
    text, last = data.windows(24)[0], lambda: data.last_character(8)
    symbols = int(text.max()) + 1
    ngram = models.neural_ngram(symbols, 8)
    return {
        "fashion mlp": Task(
            models.dense(784, [128], 10), pictures, classes, accuracy, 32, True
        ),
        "fashion mlp batch norm dropout": Task(
            models.dense(
                784, [256, 128], 10, norm=layers.BatchNormalization, dropout=0.2
            ),
            pictures,
            classes,
            accuracy,
            128,
            xla=False,
        ),
        "fashion cnn": Task(
            models.convolutional,
            data.reshaped(data.fashion, data.channel),
            classes,
            accuracy,
            32,
            xla=False,
        ),
        "fashion resnet": Task(
            models.residual,
            data.reshaped(data.fashion, data.halved),
            classes,
            accuracy,
            32,
            xla=False,
        ),
        "fashion tanh 6 layers": Task(
            models.dense(262, [48] * 6, 10, "tanh"), thirds, classes, accuracy, 32
        ),
        "fashion logistic": Task(
            models.dense(784, [], 10), pictures, classes, accuracy, 64
        ),
        "fashion conv autoencoder": Task(
            models.convolutional_autoencoder,
            data.reshaped(data.fashion, data.halved, lambda x: x),
            "mse",
            [],
            32,
            xla=False,
        ),
        "emnist mlp layer norm": Task(
            models.dense(784, [96], 48, "gelu", norm),
            letter,
            classes,
            accuracy,
            32,
            True,
        ),
        "emnist selu 8 layers": Task(
            models.dense(784, [64] * 8, 48, "selu"), letter, classes, accuracy, 256
        ),
        "emnist autoencoder": Task(
            models.dense(784, [64, 12, 64], 784, last="sigmoid"),
            data.reshaped(data.letters, data.flat, lambda x: x),
            "binary_crossentropy",
            [],
            32,
            True,
        ),
        "emnist cnn batch 8": Task(
            models.small_convolutional,
            small,
            classes,
            accuracy,
            8,
            xla=False,
        ),
        "emnist separable": Task(
            models.separable,
            small,
            classes,
            accuracy,
            32,
            xla=False,
        ),
        "shakespeare gru": Task(
            models.recurrent(layers.GRU, 32, 64, symbols),
            lambda: data.windows(24),
            classes,
            accuracy,
            16,
        ),
        "shakespeare lstm": Task(
            models.recurrent(layers.LSTM, 24, 48, symbols),
            lambda: data.windows(24),
            classes,
            accuracy,
            32,
        ),
        "shakespeare transformer": Task(
            models.transformer(symbols, 24),
            lambda: data.windows(24),
            classes,
            accuracy,
            16,
        ),
        "shakespeare n-gram": Task(ngram, last, classes, accuracy, 64, True),
        "speakers bag of words": Task(
            lambda: models.bag_of_words(12), data.speakers, classes, accuracy, 32
        ),
        "speakers conv": Task(
            lambda: models.convolved_words(12),
            data.speakers,
            classes,
            accuracy,
            32,
            xla=False,
        ),
        "m4 mlp": Task(
            models.dense(72, [64, 64], 24), data.electricity, "mse", [], 64, True
        ),
        "m4 lstm": Task(models.forecasting_cell, data.electricity, "mse", [], 32),
        "m4 n-beats": Task(models.residual_forecast, data.electricity, "mae", [], 128),
        "digits mlp": Task(
            models.dense(64, [64, 32], 10),
            data.table(load_digits),
            classes,
            accuracy,
            16,
        ),
        "breast cancer logistic": Task(
            models.dense(30, [], 2),
            data.table(load_breast_cancer),
            classes,
            accuracy,
            16,
        ),
        "diabetes mlp": Task(
            models.dense(10, [32, 32], 1), data.table(load_diabetes, True), "mse", [], 8
        ),
    }
