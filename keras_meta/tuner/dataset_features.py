"""A data set as a short vector of named numbers, to tell how near two of them are."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROWS = 2_000  # drawn from the data set; more do not change the numbers much
COLUMNS = 128  # of wider data, so many are drawn
HASHED_WORDS = 256
NEIGHBOURS_OF = 500  # held-out rows whose nearest neighbours are looked for
RIDGE = 1e-2
FEATURES = (
    "log_rows",
    "log_columns",
    "log_rows_a_column",
    "log_classes",
    "is_regression",
    "is_image",
    "is_text",
    "class_entropy",
    "smallest_class",
    "largest_class",
    "missing",
    "zeros",
    "integers",
    "mean_skewness",
    "mean_kurtosis",
    "mean_correlation",
    "effective_columns",
    "target_skewness",
    "majority_score",
    "linear_score",
    "neighbour_score",
    "centroid_score",
    "stump_score",
)


def describe_dataset(
    x: ArrayLike, y: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """Describes a data set by numbers that do not depend on its units.

    Sizes, classes and their imbalance, statistics of the features, and landmarks
    (Pfahringer et al. 2000): how well models that take no time do on held-out rows.
    Landmarks are accuracies for classes and R^2 (at least -1) for numbers. At most
    `ROWS` rows are looked at.

    Args:
        x: array `(rows, ...)` of numbers: tables, images `(rows, height, width[,
            channels])`, sequences; or of str `(rows,)`: texts. A `pandas.DataFrame` of
            numbers works, too. NaN counts as missing.
        y: array `(rows,)` or `(rows, 1)` of classes (integers, bools or str), one-hot
            rows, or float targets `(rows,)` or `(rows, outputs)`, of which the first
            counts. None: no target.
        seed: int, of the rows drawn.

    Returns:
        dict from the names `FEATURES`, in this order, to finite floats.

    Raises:
        ValueError: for no rows, or a different number in x and y.

    Example:

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> facts = describe_dataset(x, (x[:, 0] > 0).astype(int))
    >>> len(facts), facts["linear_score"] > facts["majority_score"]
    (23, True)
    """
    x = np.asarray(x)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(
            "Argument `x` must have rows, and something in them. Received: an array "
            f"of shape {x.shape}."
        )
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 0 or len(y) != len(x):
            raise ValueError(
                "Arguments `x` and `y` must have as many rows. Received: shapes "
                f"{x.shape} and {y.shape}."
            )
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(x))[:ROWS]
    facts = dict.fromkeys(FEATURES, 0.0)
    is_text = x.dtype.kind in "USO" and isinstance(x.flat[0], (str, bytes))
    facts["is_text"] = float(is_text)
    facts["is_image"] = float(
        x.ndim in (3, 4) and not is_text and min(x.shape[1:3]) > 3
    )
    width = HASHED_WORDS if is_text else int(np.prod(x.shape[1:]))
    facts["log_rows"] = np.log(len(x))
    facts["log_columns"] = np.log(max(width, 1))
    facts["log_rows_a_column"] = np.log(len(x) / max(width, 1))
    table = _hashed(x[rows]) if is_text else _numbers(x[rows], generator)
    facts |= _of_columns(table)
    table = _standardised(table)
    facts["effective_columns"] = _effective_columns(table)
    if y is not None:
        facts |= _of_target(y, table, rows)
    return {name: float(facts[name]) for name in FEATURES}


def _numbers(x, generator):
    """Returns rows of at most `COLUMNS` columns, float64, NaN where missing."""
    x = x.reshape(len(x), -1)
    if x.shape[1] > COLUMNS:
        x = x[:, np.sort(generator.permutation(x.shape[1])[:COLUMNS])]
    try:
        x = x.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Argument `x` must hold numbers, or texts in one column. Received: an "
            f"array of {x.dtype}."
        ) from error
    return np.where(np.isfinite(x), x, np.nan)


def _hashed(texts):
    """Returns the logarithms of counts of words, hashed to `HASHED_WORDS` columns."""
    table = np.zeros((len(texts), HASHED_WORDS))
    for row, text in zip(table, texts.reshape(-1), strict=True):
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % HASHED_WORDS] += 1.0
    return np.log1p(table)


def _of_columns(table):
    missing = np.isnan(table)
    known = np.where(missing, 0.0, table)
    count = np.maximum((~missing).sum(axis=0), 1)
    mean = known.sum(axis=0) / count
    centred = np.where(missing, 0.0, table - mean)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    varies = deviation > 1e-12
    z = centred[:, varies] / deviation[varies]
    facts = {
        "missing": missing.mean(),
        "zeros": (known == 0.0).mean() - missing.mean(),
        "integers": (known == np.round(known)).all(axis=0).mean(),
    }
    if varies.any():
        rows = count[varies]
        facts["mean_skewness"] = np.arcsinh(np.abs((z**3).sum(axis=0) / rows)).mean()
        facts["mean_kurtosis"] = np.arcsinh((z**4).sum(axis=0) / rows).mean()
    if varies.sum() > 1:
        correlation = z.T @ z / len(z)
        off = correlation[np.triu_indices(len(correlation), 1)]
        facts["mean_correlation"] = np.abs(off).mean()
    return facts


def _standardised(table):
    mean = np.nanmean(np.where(np.isnan(table).all(axis=0), 0.0, table), axis=0)
    table = np.where(np.isnan(table), mean, table) - mean
    deviation = table.std(axis=0)
    return table[:, deviation > 1e-12] / deviation[deviation > 1e-12]


def _effective_columns(table):
    """The share of columns that the variance is spread over: exp of its entropy."""
    if not table.shape[1]:
        return 0.0
    variances = np.maximum(np.linalg.eigvalsh(table.T @ table), 0.0)
    shares = variances / variances.sum()
    shares = shares[shares > 0.0]
    return np.exp(-(shares * np.log(shares)).sum()) / table.shape[1]


def _of_target(y, table, rows):
    if y.ndim > 1 and y.shape[1] > 1 and _is_one_hot(y[rows]):
        y = y.argmax(axis=1)
    y = y.reshape(len(y), -1)[:, 0]
    if y.dtype.kind == "f" and not _is_classes(y[rows]):
        return _of_numbers(y[rows].astype(float), table)
    names, y_rows = np.unique(y[rows].astype(str), return_inverse=True)
    shares = np.bincount(y_rows) / len(y_rows)
    facts = {
        "log_classes": np.log(len(names)),
        "class_entropy": -(shares * np.log(shares)).sum()
        / max(np.log(len(names)), 1.0),
        "smallest_class": shares.min(),
        "largest_class": shares.max(),
    }
    return facts | _landmarks(table, np.eye(len(names))[y_rows], y_rows)


def _of_numbers(y, table):
    known = np.isfinite(y)
    y, table = y[known], table[known]
    facts = {"is_regression": 1.0}
    deviation = y.std() if len(y) else 0.0
    if deviation > 1e-12:
        z = (y - y.mean()) / deviation
        facts["target_skewness"] = np.arcsinh((z**3).mean())
        facts |= _landmarks(table, z[:, None], None)
    return facts


def _landmarks(table, targets, classes):
    """Scores on every second row of models fitted to the other rows."""
    if len(table) < 4:
        return {}
    train, test = np.arange(0, len(table), 2), np.arange(1, len(table), 2)

    def score(prediction, rows=test):
        if classes is not None:
            return np.mean(prediction.argmax(axis=1) == classes[rows])
        error = ((prediction - targets[rows]) ** 2).sum()
        spread = ((targets[rows] - targets[train].mean(axis=0)) ** 2).sum()
        return max(1.0 - error / max(spread, 1e-12), -1.0)

    mean = targets[train].mean(axis=0)
    facts = {"majority_score": score(np.tile(mean, (len(test), 1)))}
    if not table.shape[1]:
        return facts
    design = np.c_[table[train], np.ones(len(train))]
    gram = design.T @ design + RIDGE * len(train) * np.eye(design.shape[1])
    weights = scipy.linalg.solve(gram, design.T @ targets[train], assume_a="pos")
    facts["linear_score"] = score(np.c_[table[test], np.ones(len(test))] @ weights)
    few = test[:NEIGHBOURS_OF]
    products = table[few] @ table[train].T
    squares = (table[train] ** 2).sum(axis=1) - 2.0 * products
    facts["neighbour_score"] = score(targets[train][squares.argmin(axis=1)], few)
    if classes is not None:
        centres = _centres(table[train], classes[train], targets.shape[1])
        distances = (centres**2).sum(axis=1) - 2.0 * table[test] @ centres.T
        facts["centroid_score"] = score(-distances)
    facts["stump_score"] = _stump(table, targets, train, test, score)
    return facts


def _centres(table, classes, count):
    """Returns each class's mean; one that has no row is far from everything."""
    centres = np.full((count, table.shape[1]), 1e3)
    for one in np.unique(classes):
        centres[one] = table[classes == one].mean(axis=0)
    return centres


def _stump(table, targets, train, test, score):
    """The score of the best single split at a column's median, chosen on `train`."""
    above = table[train] > np.median(table[train], axis=0)  # (rows, columns)
    count = np.maximum(above.sum(axis=0), 1)
    left = np.maximum((~above).sum(axis=0), 1)
    high = above.T.astype(float) @ targets[train] / count[:, None]
    low = (~above).T.astype(float) @ targets[train] / left[:, None]
    # The split whose two means explain most variance.
    gain = (count[:, None] * high**2 + left[:, None] * low**2).sum(axis=1)
    best = int(np.argmax(gain))
    is_above = table[test, best] > np.median(table[train, best])
    return score(np.where(is_above[:, None], high[best], low[best]))


def _is_one_hot(y):
    if y.dtype.kind not in "fiub":
        return False
    return bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())


def _is_classes(y):
    """Whether floats are class numbers: few whole numbers."""
    return bool((y == np.round(y)).all() and len(np.unique(y)) <= 20)
