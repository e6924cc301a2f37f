"""One hyperparameter as coordinates in the unit interval, and back."""

import math
import numbers

import numpy as np

INACTIVE = 0.5
EDGE = 1.0 - 1e-9
MAX_GRID = 10_000  # more values than these are treated as a continuum


class Dimension:
    """A hyperparameter of a search space, under its conditions.

    Numbers, booleans and ordered choices have one coordinate in [0, 1], in which equal
    intervals are equally likely under the hyperparameter's own sampling; a choice
    without an order has one coordinate for each value, 1 for the chosen one.

    Args:
        entry: dict with `class_name` and `config`, as in
            `keras_tuner.HyperParameters.get_config()["space"]`.

    Raises:
        ValueError: for a class of hyperparameter that is not known.
    """

    def __init__(self, entry):
        kind, config = entry["class_name"], entry["config"]
        self.kind, self.name = kind, config["name"]
        self.conditions = tuple(
            (parent["config"]["name"], tuple(parent["config"]["values"]))
            for parent in config.get("conditions") or ()
        )
        self.values = None  # what it may be, where these are few
        self.step = None  # of a grid of many numbers
        self.ordered = True
        if kind == "Fixed":
            self.values = [config["value"]]
        elif kind == "Boolean":
            self.values = [False, True]
        elif kind == "Choice":
            self.values = list(config["values"])
            self.ordered = bool(config.get("ordered"))
        elif kind in ("Int", "Float"):
            self.low, self.high = config["min_value"], config["max_value"]
            self.sampling = config.get("sampling") or "linear"
            step = config.get("step")
            if step and not (kind == "Int" and step == 1 and self.sampling == "linear"):
                self.values = self._grid(step)
                self.step = step if self.values is None else None
        else:
            raise ValueError(
                "A hyperparameter must be a Boolean, Choice, Fixed, Float or Int. "
                f"Received: {kind!r}, {self.name!r}."
            )

    @property
    def key(self):
        """What tells it from others: its name and its conditions."""
        return self.name, self.conditions

    @property
    def width(self):
        """int, how many coordinates it has."""
        if self.kind == "Fixed":
            return 0
        return 1 if self.ordered else len(self.values)

    def is_active(self, values):
        """Returns whether its conditions hold for a dict of values."""
        return all(
            parent in values and values[parent] in allowed
            for parent, allowed in self.conditions
        )

    def coordinates(self, value):
        """Returns a value's coordinates, or None for one that has no place.

        Numbers out of the range lie outside of [0, 1]; choices that there are not,
        and numbers that the logarithm does not take, have no place.
        """
        if self.kind == "Fixed":
            return []
        if self.values is not None and not self._is_number_grid():
            if value not in self.values:
                return None
            return self._of_index(self.values.index(value))
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            return None
        if self.values is not None:
            values = np.array(self.values, float)
            if not values[0] <= value <= values[-1]:
                return self._of_number(value)
            return self._of_index(int(np.argmin(np.abs(values - value))))
        return self._of_number(value)

    def value(self, coordinates):
        """Returns the value at coordinates, of plain Python type."""
        if self.kind == "Fixed":
            return self.values[0]
        if self.values is not None:
            if self.ordered:
                count = len(self.values)
                index = int(min(max(coordinates[0], 0.0), EDGE) * count)
            else:
                index = int(np.argmax(coordinates))
            return self.values[index]
        share = min(max(float(coordinates[0]), 0.0), 1.0)
        if self.step is not None:
            number = self._on_grid(self._number(share))
            return int(number) if self.kind == "Int" else float(number)
        if self.kind == "Float":
            return float(min(max(self._number(share), self.low), self.high))
        high = self.high + 1
        number = math.floor(self._number(min(share, EDGE), high) + 1e-9)
        return int(min(max(number, self.low), self.high))

    def snapped(self, columns):
        """As `value` and `coordinates`, for many points at once.

        Args:
            columns: float `(n, width)`.

        Returns:
            Tuple `(coordinates, numbers)`: float `(n, width)` of the values nearest;
            `(n,)`, the values' indices where they are few, the values where not.
        """
        if self.values is not None:
            count = len(self.values)
            if not self.ordered:
                index = columns.argmax(axis=1)
                return np.eye(count)[index], index
            index = (np.clip(columns[:, 0], 0.0, EDGE) * count).astype(int)
            return (index[:, None] + 0.5) / count, index
        share = np.clip(columns[:, 0], 0.0, 1.0)
        if self.step is not None:
            numbers = self._on_grid(self._number(share))
            return self._share(numbers, self.high)[:, None], numbers
        if self.kind == "Float":
            if self.high <= self.low:
                return np.full_like(columns, INACTIVE), np.full(len(columns), self.low)
            return share[:, None], self._number(share)
        high = self.high + 1
        numbers = np.floor(self._number(np.minimum(share, EDGE), high) + 1e-9)
        numbers = np.clip(numbers, self.low, self.high)
        return self._share(numbers + 0.5, high)[:, None], numbers

    def allows(self, numbers, allowed):
        """Returns which of the numbers of `snapped` are among some values."""
        if self.values is not None:
            allowed = [i for i, v in enumerate(self.values) if v in allowed]
        return np.isin(numbers, allowed)

    def random(self, generator, count):
        """Returns coordinates drawn as KerasTuner draws values, `(count, width)`."""
        if self.values is not None:
            index = generator.integers(len(self.values), size=count)
            if not self.ordered:
                return np.eye(len(self.values))[index]
            return (index[:, None] + 0.5) / len(self.values)
        return generator.random((count, 1))

    def inactive(self):
        """Returns the coordinates that stand for "does not apply"."""
        if self.ordered:
            return [INACTIVE] * self.width
        return [1.0 / len(self.values)] * self.width

    # ---- private ----------------------------------------------------------------

    def _is_number_grid(self):
        return self.kind in ("Int", "Float")

    def _of_index(self, index):
        if self.kind == "Fixed":
            return []
        if self.ordered:
            return [(index + 0.5) / len(self.values)]
        return [float(i == index) for i in range(len(self.values))]

    def _of_number(self, value):
        low, high = self.low, self.high
        if self.kind == "Int" and self.values is None and self.step is None:
            # The middle of the interval that is rounded down to the value.
            value, high = value + 0.5, high + 1
        if high <= low:
            return [INACTIVE]
        if self.sampling == "log" and value <= 0.0:
            return None
        if self.sampling == "reverse_log" and value >= high + low:
            return None
        return [float(self._share(value, high))]

    def _share(self, value, high):
        """The inverse of `_number`."""
        low = self.low
        if self.sampling == "linear":
            return (value - low) / (high - low)
        if self.sampling == "log":
            return np.log(value / low) / np.log(high / low)
        return 1.0 - np.log((high + low - value) / low) / np.log(high / low)

    def _number(self, share, high=None):
        low, high = self.low, self.high if high is None else high
        if self.sampling == "linear":
            return low + share * (high - low)
        if self.sampling == "log":
            return low * (high / low) ** share
        return high + low - low * (high / low) ** (1.0 - share)

    def _on_grid(self, numbers):
        """Returns the numbers of the step's grid that are nearest, none too high."""
        low, step = self.low, self.step
        if self.sampling == "linear":
            last = np.floor((self.high - low) / step + 1e-8)
            return low + step * np.minimum(np.round((numbers - low) / step), last)
        last = np.floor(np.log(self.high / low) / np.log(step) + 1e-8)
        if self.sampling == "reverse_log":
            numbers = self.high + low - numbers
        powers = np.round(np.log(numbers / low) / np.log(step))
        grid = low * step ** np.minimum(powers, last)
        return self.high + low - grid if self.sampling == "reverse_log" else grid

    def _grid(self, step):
        """Returns the values that a step leaves, or None if they are very many."""
        if self.sampling == "linear":
            count = (self.high - self.low) / step
        else:
            count = math.log(self.high / self.low) / math.log(step)
        count = int(count + 1e-8) + 1
        if count > MAX_GRID:
            return None
        if self.sampling == "linear":
            values = [self.low + step * i for i in range(count)]
        elif self.sampling == "log":
            values = [self.low * step**i for i in range(count)]
        else:
            values = [
                self.high + self.low - self.low * step**i
                for i in reversed(range(count))
            ]
        return [int(v) if self.kind == "Int" else float(v) for v in values]
