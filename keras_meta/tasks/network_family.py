"""Families of small networks to train, on your arrays or scikit-learn's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_meta.tasks.ranges import checked_range
from keras_meta.tasks.task import check_count
from keras_meta.tasks.training_problem import TrainingProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu")
TABLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def network_family(
    x: ArrayLike,
    y: ArrayLike,
    count: int = 8,
    seed: int = 0,
    units: int | Sequence[int] = (8, 64),
    layers: int | Sequence[int] = (1, 2),
    activations: Sequence[str] = ACTIVATIONS,
    batch_size: int | Sequence[int] = (16, 128),
    initial_scale: float | Sequence[float] = (0.5, 2.0),
    label_noise: float | Sequence[float] = (0.0, 0.2),
) -> list[TrainingProblem]:
    """Returns problems of training networks of random size on the same data.

    What an optimizer learns on them does not belong to one network. Sizes are drawn
    uniformly in the logarithm, activations uniformly.

    Args:
        x: float array `(examples, ...)`.
        y: class numbers, integers or bools `(examples,)` from 0 on: cross-entropy; or
            float `(examples,)` or `(examples, outputs)`: squared error.
        count: int >= 1, how many problems.
        seed: int >= 0.
        units: int or pair (low, high), the width of the hidden layers.
        layers: int or pair (low, high), how many of them.
        batch_size: int or pair (low, high), examples of a step.
        activations: names of Keras activations.
        initial_scale: as in `TrainingProblem`; drawn for each task.
        label_noise: as in `TrainingProblem`; drawn for each task.

    Returns:
        list of `TrainingProblem`.

    Raises:
        ValueError: for arguments that cannot work.

    Example:

    ```python
    import keras_meta
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    problems = keras_meta.tasks.network_family(x, y, count=3, units=(4, 16))
    print(len(problems), problems[0].parameter_shapes[0][0])  # 3 4
    ```
    """
    check_count("count", count)
    ranges = {}
    for name, value in (
        ("units", units),
        ("layers", layers),
        ("batch_size", batch_size),
    ):
        ranges[name] = checked_range(name, value, positive=True)
    if not activations or isinstance(activations, str):
        raise ValueError(
            "Argument `activations` must be a list of names, at least one. Received: "
            f"activations={activations!r}."
        )
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim < 2 or len(x) == 0 or len(x) != len(y):
        raise ValueError(
            "Arguments `x` and `y` must be arrays of the same number of examples, `x` "
            f"with features. Received: shapes {x.shape} and {y.shape}."
        )
    if y.dtype.kind == "b":
        y = y.astype("int64")
    if y.dtype.kind not in "uif":
        raise ValueError(
            "Argument `y` must hold class numbers or floats. Received: an array of "
            f"{y.dtype}. Number the classes with "
            "`numpy.unique(y, return_inverse=True)[1]`."
        )
    if y.dtype.kind in "ui":
        if y.ndim > 1 and y.shape[1:] != (1,):
            raise ValueError(
                "Argument `y` must hold one class number an example. Received: shape "
                f"{y.shape}. Of one-hot rows pass `y.argmax(axis=-1)`."
            )
        y = y.reshape(len(y))
        if y.min() < 0:
            raise ValueError(
                "Argument `y` must hold class numbers from 0 on. Received: labels from "
                f"{y.min()} to {y.max()}."
            )
        outputs = int(y.max()) + 1
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        y = y.reshape(len(y), -1)
        outputs, loss = y.shape[1], keras.losses.MeanSquaredError()
    random = np.random.default_rng(seed)
    problems = []
    for _ in range(count):
        size = {
            name: round(np.exp(random.uniform(*np.log(ends))))
            for name, ends in ranges.items()
        }
        activation = activations[random.integers(len(activations))]
        hidden = [
            keras.layers.Dense(
                size["units"],
                activation,
                kernel_initializer=_glorot(random),
            )
            for _ in range(size["layers"])
        ]
        model = keras.Sequential(
            [
                keras.Input(x.shape[1:]),
                keras.layers.Flatten(),
                *hidden,
                keras.layers.Dense(outputs, kernel_initializer=_glorot(random)),
            ]
        )
        problems.append(
            TrainingProblem(
                model,
                x,
                y,
                loss,
                batch_size=min(size["batch_size"], len(x)),
                initial_scale=initial_scale,
                label_noise=label_noise,
            )
        )
    return problems


def table_problems(
    count: int = 2, seed: int = 0, tables: str | Sequence[str] = TABLES, **kwargs: Any
) -> list[TrainingProblem]:
    """Returns networks of random size on scikit-learn's tables, features standardised.

    Needs scikit-learn: `pip install keras_meta[demo]`.

    Args:
        count: int >= 1, problems a table.
        seed: int >= 0.
        tables: names out of `"breast_cancer"`, `"diabetes"` (regression), `"digits"`,
            `"iris"`, `"wine"`.
        **kwargs: as in `network_family`.

    Returns:
        list of `TrainingProblem`, `count` for each table.

    Raises:
        ImportError: without scikit-learn.
        ValueError: for a table that there is not.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "The tables are scikit-learn's, which is not installed. Run `pip install "
            "'keras_meta[demo]'` or `pip install scikit-learn`."
        ) from error
    tables = (tables,) if isinstance(tables, str) else tables
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise ValueError(
            f"Argument `tables` must name tables out of {list(TABLES)}. "
            f"Received: {unknown}."
        )
    problems = []
    for index, table in enumerate(tables):
        x, y = getattr(datasets, f"load_{table}")(return_X_y=True)
        x = _standardised(x)
        y = _standardised(y) if table == "diabetes" else y
        problems += network_family(x, y, count, seed + 1000 * index, **kwargs)
    return problems


def _glorot(random):
    return keras.initializers.GlorotUniform(seed=int(random.integers(2**31)))


def _standardised(values):
    spread = values.std(axis=0)
    centred = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return centred.astype("float32")
