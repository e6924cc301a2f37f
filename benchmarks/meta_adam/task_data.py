"""The data that MetaAdam is meta-trained on, from the folder `KERAS_META_DATA`."""

import gzip
import json
import os
import pathlib
import re

import numpy as np

CHARACTERS = "abcdefghijklmnopqrstuvwxyz '.,?$0123456789-"


def folder():
    """Returns the folder of the data that is not shipped."""
    return pathlib.Path(os.environ["KERAS_META_DATA"])


def standard(x):
    return ((x - x.mean()) / x.std()).astype("float32")


def pooled(images, k):
    n, h, w = images.shape
    return images.reshape(n, h // k, k, w // k, k).mean((2, 4))


def digits():
    """Returns MNIST's `(images 28, images 14, images 7, labels)`, standardised."""
    data = np.load(folder() / "mnist_12k.npz")
    x = data["x_train"] / 255.0
    return standard(x), standard(pooled(x, 2)), standard(pooled(x, 4)), data["y_train"]


def watch_features():
    data = np.load(folder() / "wisdm_watch_features.npz")
    x = np.nan_to_num(data["x"])
    x = np.clip((x - x.mean(0)) / (x.std(0) + 1e-6), -5.0, 5.0)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], data["activity"].astype("int32")[order]


def utterances():
    return json.loads(gzip.open(folder() / "clinc150.json.gz").read())


def characters():
    """Returns CLINC150's training utterances as one row of character numbers."""
    lines = [line for line, _ in utterances()["train"]]
    order = np.random.default_rng(0).permutation(len(lines))
    text = ". ".join(lines[i].lower() for i in order)
    number = {c: i for i, c in enumerate(CHARACTERS)}
    return np.array([number[c] for c in text if c in number], "int32")


def words(length=12, known=500, part="train"):
    """Returns CLINC150's `(word numbers, intent's domain number)`; 0 is padding."""
    data = utterances()
    domain = {
        i: d for d, name in enumerate(data["domains"]) for i in data["domains"][name]
    }
    lines = [re.findall(r"[a-z']+", line.lower()) for line, _ in data[part]]
    names, counts = np.unique(np.concatenate(lines), return_counts=True)
    number = {n: i + 2 for i, n in enumerate(names[np.argsort(-counts)][: known - 2])}
    x = np.zeros((len(lines), length), "int32")
    for row, line in zip(x, lines, strict=True):
        found = [number.get(word, 1) for word in line[:length]]
        row[: len(found)] = found
    return x, np.array([domain[intent] for _, intent in data[part]])


def teacher(seed, inputs, outputs, examples=4_000):
    """Returns data of a random network on inputs whose spectrum falls."""
    random = np.random.default_rng(seed)
    spectrum = np.arange(1, inputs + 1) ** -random.uniform(0.0, 1.0)
    x = (
        random.normal(size=(examples, inputs))
        * spectrum
        * np.sqrt(inputs / np.sum(spectrum**2))
    )
    hidden = np.tanh(x @ random.normal(size=(inputs, 24)) * 1.5 / np.sqrt(inputs))
    y = hidden @ random.normal(size=(24, outputs)) / np.sqrt(24)
    return x, y + 0.1 * random.normal(size=y.shape)
