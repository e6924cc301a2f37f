"""LCBench as a surrogate: 34 data sets, seven hyperparameters of a network.

Zimmer et al. 2021, "Auto-PyTorch Tabular", arXiv:2006.13799, as the regression model of
YAHPO Gym (Pfisterer et al. 2022, arXiv:2109.03670), which onnxruntime evaluates. It
reads model.onnx, config_space.json and encoding.json in the folder `lcbench` of
`KERAS_META_DATA`.
"""

import functools
import json
import os
import pathlib

import numpy as np

OUTPUTS = (
    "time",
    "val_accuracy",
    "val_cross_entropy",
    "val_balanced_accuracy",
    "test_cross_entropy",
    "test_balanced_accuracy",
)
METRIC = "val_accuracy"
LAST_EPOCH = 52
# name, kind, least, greatest, sampling; in the order of the model's inputs
PARAMETERS = (
    ("batch_size", "Int", 16, 512, "log"),
    ("learning_rate", "Float", 1e-4, 1e-1, "log"),
    ("momentum", "Float", 0.1, 0.99, "linear"),
    ("weight_decay", "Float", 1e-5, 0.1, "linear"),
    ("num_layers", "Int", 1, 5, "linear"),
    ("max_units", "Int", 64, 1024, "log"),
    ("max_dropout", "Float", 0.0, 1.0, "linear"),
)
NUM_SOURCES = 24
# For the best and the median score of a data set.
RANDOM_POINTS = 100_000
REFINEMENTS = 40
REFINED = 200  # points, each of which is moved so often:
MOVES = 25


def folder():
    """Returns the data's folder.

    Raises:
        FileNotFoundError: saying what is missing.
    """
    root = os.environ.get("KERAS_META_DATA")
    path = root and pathlib.Path(root) / "lcbench"
    if not path or not (path / "model.onnx").is_file():
        raise FileNotFoundError(
            "This program needs the folder lcbench (model.onnx, config_space.json, "
            "encoding.json) in the folder that KERAS_META_DATA names. Received: "
            f"KERAS_META_DATA={root!r}."
        )
    return path


class LCBench:
    """Scores of configurations on each data set, higher is better."""

    def __init__(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder() / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        encoding = json.loads((folder() / "encoding.json").read_text())
        self._codes = encoding["OpenML_task_id"]
        space = json.loads((folder() / "config_space.json").read_text())
        self.datasets = next(
            entry["choices"]
            for entry in space["hyperparameters"]
            if entry["name"] == "OpenML_task_id"
        )

    def scores(self, dataset, rows, epoch=LAST_EPOCH):
        """Returns float `(n,)` for rows of parameter values `(n, 7)`."""
        rows = np.atleast_2d(rows)
        inputs = np.empty((len(rows), 1 + len(PARAMETERS)), np.float32)
        inputs[:, 0], inputs[:, 1:] = epoch, rows
        codes = np.full((len(rows), 1), self._codes[dataset], np.int32)
        outputs = self._session.run(None, {"x_cat": codes, "x_cont": inputs})[0]
        return outputs[:, OUTPUTS.index(METRIC)].astype(float)

    def score(self, dataset, values):
        """Returns the score of a dict of values."""
        row = [values[name] for name, *_ in PARAMETERS]
        return float(self.scores(dataset, row)[0])

    @functools.cache  # noqa: B019 - one benchmark a process
    def range(self, dataset, space):
        """Returns the median score of random points, and the best one found.

        Args:
            dataset: str.
            space: `SearchSpace`.
        """
        generator = np.random.default_rng(7)
        points = space.sample(generator, RANDOM_POINTS)
        scores = self.scores(dataset, self.rows(space, points))
        median, best = np.median(scores), scores.max()
        top = points[np.argsort(-scores)[:REFINED]]
        for index in range(REFINEMENTS):
            start = np.repeat(top, MOVES, axis=0)
            changed = generator.random(start.shape) < 0.5
            moves = changed * generator.normal(0.0, 0.3 * 0.88**index, start.shape)
            tried = space.snap(space.moved(start, moves, changed, generator))
            points = np.concatenate([top, tried])
            scores = self.scores(dataset, self.rows(space, points))
            order = np.argsort(-scores)[:REFINED]
            top, best = points[order], max(best, scores[order[0]])
        return float(median), float(best)

    @staticmethod
    def rows(space, points):
        """Returns the parameter values of points, `(n, 7)`."""
        numbers = [
            dimension.snapped(points[:, part])[1]
            for dimension, part in zip(space.dimensions, space.slices, strict=True)
        ]
        return np.stack(numbers, axis=1)


def hyperparameters():
    """Returns the search space as `keras_tuner.HyperParameters`."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    for name, kind, low, high, sampling in PARAMETERS:
        getattr(hp, kind)(name, low, high, sampling=sampling)
    return hp


def split(datasets, part="test"):
    """Returns source and target data sets, no target of one part twice.

    `"test"`: 24 sources and the last 10. `"development"`: of these sources, 16 and 8:
    what was chosen was chosen on these.
    """
    order = np.random.default_rng(0).permutation(sorted(datasets)).tolist()
    if part == "test":
        return order[:NUM_SOURCES], order[NUM_SOURCES:]
    return order[:16], order[16:NUM_SOURCES]
