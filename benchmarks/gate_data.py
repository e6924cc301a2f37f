"""The data of the release gate's tasks, each `(x, y, validation x, validation y)`.

Fashion-MNIST, EMNIST, Shakespeare and M4 from the folder `KERAS_META_DATA`, and
scikit-learn's tables.
"""

import functools
import gzip
import json
import os
import pathlib
import re

import numpy as np

VALIDATION_ROWS = 2_000


def folder():
    return pathlib.Path(os.environ["KERAS_META_DATA"])


@functools.cache
def fashion():
    data = np.load(folder() / "fashion_mnist_12k.npz")

    def scaled(images):
        return ((images / 255.0 - 0.286) / 0.353).astype("float32")

    return (
        scaled(data["x_train"]),
        data["y_train"].astype("int32"),
        scaled(data["x_test"]),
        data["y_test"].astype("int32"),
    )


@functools.cache
def letters():
    data = np.load(folder() / "emnist62.npz")
    x = (data["images"] / 255.0).astype("float32")
    y = np.repeat(np.arange(len(x), dtype="int32"), x.shape[1])
    return held_out(x.reshape(-1, 28, 28), y, 1_600)


@functools.cache
def play():
    return json.loads(gzip.open(folder() / "shakespeare_roles.json.gz").read())


@functools.cache
def windows(length):
    """Returns Shakespeare's text as windows and the characters after each of them."""
    text = play()["text"]
    names = sorted(set(text))
    number = {character: i for i, character in enumerate(names)}
    codes = np.array([number[character] for character in text], "int32")
    starts = np.random.default_rng(0).integers(len(codes) - length - 1, size=42_000)
    cut = int(0.9 * len(codes))
    inside = starts[starts < cut - length - 1][:30_000]
    after = starts[starts >= cut][:VALIDATION_ROWS]
    rows = np.arange(length + 1)
    train, validation = codes[inside[:, None] + rows], codes[after[:, None] + rows]
    return train[:, :-1], train[:, 1:], validation[:, :-1], validation[:, 1:]


@functools.cache
def speakers(length=16, words=2_000, roles=12):
    """Returns word numbers of pieces of speech, and who speaks."""
    lines = sorted(play()["roles"].items(), key=lambda item: -len(str(item[1])))
    spoken = []
    for label, (_, said) in enumerate(lines[:roles]):
        text = said if isinstance(said, str) else "\n".join(said)
        found = re.findall(r"[a-z']+", text.lower())
        pieces = len(found) // length
        spoken += [(found[i * length : (i + 1) * length], label) for i in range(pieces)]
    names, counts = np.unique(
        np.concatenate([piece for piece, _ in spoken]), return_counts=True
    )
    number = {n: i + 1 for i, n in enumerate(names[np.argsort(-counts)][: words - 1])}
    x = np.array([[number.get(word, 0) for word in piece] for piece, _ in spoken])
    y = np.array([label for _, label in spoken])
    return held_out(x.astype("int32"), y.astype("int32"), len(x) // 10)


@functools.cache
def electricity(past=72, future=24):
    """Returns windows of M4's hourly series, each scaled by its own past."""
    data = np.load(folder() / "m4_hourly.npz")
    random = np.random.default_rng(0)
    rows = []
    for series, length in zip(data["y"], data["train_length"], strict=True):
        for start in random.integers(length - past - future, size=40):
            window = series[start : start + past + future]
            scale = np.abs(window[:past]).mean() + 1e-6
            rows.append((window / scale)[None])
    rows = np.concatenate(rows).astype("float32")
    # Series, not windows, are held out.
    cut = 280 * 40
    train, validation = rows[:cut], rows[cut:]
    train = train[random.permutation(len(train))]
    return train[:, :past], train[:, past:], validation[:, :past], validation[:, past:]


def held_out(x, y, rows):
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return x[rows:], y[rows:], x[:rows], y[:rows]


def table(load, regression=False):
    """Returns a standardised table of scikit-learn's, a quarter held out."""

    @functools.cache
    def data():
        x, y = load(return_X_y=True)
        y = y.astype("float32" if regression else "int32")
        if regression:
            y = ((y - y.mean()) / y.std())[:, None]
        x = ((x - x.mean(0)) / (x.std(0) + 1e-6)).astype("float32")
        return held_out(x, y, len(x) // 4)

    return data


def reshaped(data, change, targets=None):
    """Returns `data` with changed inputs, and their own targets if asked for."""

    @functools.cache
    def made():
        x, y, validation_x, validation_y = data()
        x, validation_x = change(x), change(validation_x)
        if targets is not None:
            y, validation_y = targets(x), targets(validation_x)
        return x, y, validation_x, validation_y

    return made


def flat(x):
    return x.reshape(len(x), -1)


def channel(x):
    return x[..., None]


def halved(x):
    return x.reshape(len(x), 14, 2, 14, 2).mean((2, 4))[..., None]


@functools.cache
def last_character(length):
    x, y, validation_x, validation_y = windows(length)
    return x, y[:, -1], validation_x, validation_y[:, -1]
