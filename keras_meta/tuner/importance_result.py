"""What a look for important hyperparameters found."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, TypeAlias

import numpy as np

# share, low, high
Share: TypeAlias = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Importance:
    """What `importance()` found.

    Attributes:
        names: list of str, the hyperparameters that vary, most important first.
        tasks: list of str, the tasks that were looked at.
        total: dict from name to `(share, low, high)`: the share of the variance of
            scores that is due to the hyperparameter, alone or with others (total Sobol
            index), mean over tasks and 95 % interval.
        alone: dict alike: its share alone (first-order index).
        pairs: dict from `(name, name)` to the share that two have only together, mean
            over tasks; among the most important ones.
        per_task: dict from task to dict from name to `(share, low, high)`, total
            indices with intervals by resampling the trials.
        responses: dict from name to `(values, mean, low, high)`: values along the axis
            and the mean response there in standard deviations of scores, higher is
            better, with the 95 % interval over tasks.
    """

    names: list[str]
    tasks: list[str]
    total: dict[str, Share]
    alone: dict[str, Share]
    pairs: dict[tuple[str, str], float]
    per_task: dict[str, dict[str, Share]]
    responses: dict[str, tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]]

    def rows(self) -> list[tuple[str, float, float, float, float]]:
        """Returns the table's rows: name, total share, interval, share alone."""
        return [(name, *self.total[name], self.alone[name][0]) for name in self.names]

    def save_plot(self, path: str | os.PathLike) -> None:
        """Draws bars, and the response along the most important axes, as a PNG."""
        from keras_meta.tuner.importance_plot import draw

        draw(self, path)
