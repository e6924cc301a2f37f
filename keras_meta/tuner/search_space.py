"""A KerasTuner search space as points in a cube, for new trials and for past ones."""

import numpy as np

from keras_meta.tuner.dimensions import Dimension

DECIMALS = 9


class SearchSpace:
    """Maps the values of a trial to a point and back.

    A hyperparameter is known by its name and conditions: the same name may stand in
    two scopes with other ranges. What does not apply to a trial has coordinates in the
    middle.

    Args:
        entries: list of dicts, `keras_tuner.HyperParameters.get_config()["space"]`.

    Raises:
        ValueError: for a class of hyperparameter that is not known.
    """

    def __init__(self, entries):
        self.dimensions = [Dimension(entry) for entry in entries]
        ends = np.cumsum([0, *[d.width for d in self.dimensions]])
        self.slices = [
            slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True)
        ]
        self.width = int(ends[-1])

    @property
    def names(self):
        """The names of the hyperparameters that vary, in order."""
        return [d.name for d in self.dimensions if d.width]

    def point(self, values):
        """Returns the point of a trial of this space, `(width,)`, or None.

        Args:
            values: dict; active hyperparameters that it lacks (added to the space
                later) count as not applying. None is returned if a value has no place.
        """
        point = np.empty(self.width)
        for dimension, part in zip(self.dimensions, self.slices, strict=True):
            if dimension.name in values and dimension.is_active(values):
                coordinates = dimension.coordinates(values[dimension.name])
                if coordinates is None:
                    return None
                point[part] = coordinates
            else:
                point[part] = dimension.inactive()
        return point

    def values(self, point):
        """Returns the active hyperparameters' values at a point, a dict."""
        values = {}
        for dimension, part in zip(self.dimensions, self.slices, strict=True):
            if dimension.is_active(values):
                values[dimension.name] = dimension.value(point[part])
        return values

    def past_points(self, trials, rename=None):
        """Returns the points of trials of another space, and how many have none.

        Args:
            trials: list of dicts of values.
            rename: dict from a name there to the name here.

        Returns:
            Tuple `(rows, points)`: ints, which trials have a point; float
            `(len(rows), width)`. What those trials lacked has the coordinates of what
            does not apply.
        """
        rename = rename or {}
        rows, points = [], []
        for index, values in enumerate(trials):
            values = {rename.get(name, name): value for name, value in values.items()}
            point = self.point(values)
            if point is not None:
                rows.append(index)
                points.append(point)
        return rows, np.array(points).reshape(len(rows), self.width)

    def shared_names(self, names, rename=None):
        """Returns the names that vary here and are among those of another space."""
        rename = rename or {}
        there = {rename.get(name, name) for name in names}
        return [name for name in self.names if name in there]

    def sample(self, generator, count):
        """Returns points drawn as KerasTuner draws values, `(count, width)`."""
        drawn = [d.random(generator, count) for d in self.dimensions if d.width]
        return self.snap(np.concatenate([np.empty((count, 0)), *drawn], axis=1))

    def snap(self, points):
        """Returns points moved to those of values, `(n, width)`."""
        snapped, known = np.empty_like(points), {}
        for dimension, part in zip(self.dimensions, self.slices, strict=True):
            active = np.ones(len(points), bool)
            for parent, allowed in dimension.conditions:
                holds = np.zeros(len(points), bool)
                for there, one, numbers in known.get(parent, ()):
                    holds |= there & one.allows(numbers, allowed)
                active &= holds
            if dimension.width:
                coordinates, numbers = dimension.snapped(points[:, part])
                middle = np.array(dimension.inactive())
                snapped[:, part] = np.where(active[:, None], coordinates, middle)
            else:
                numbers = np.zeros(len(points), int)  # a Fixed one's only value
            known.setdefault(dimension.name, []).append((active, dimension, numbers))
        return snapped

    def moved(self, points, moves, changed, generator):
        """Returns points with some coordinates changed, not snapped yet.

        Args:
            points, moves: float `(n, width)`.
            changed: bool `(n, width)`, which coordinates change: numbers by `moves`,
                choices without order to a random value.
            generator: `numpy.random.Generator`.
        """
        new = np.clip(points + moves, 0.0, 1.0)
        for dimension, part in zip(self.dimensions, self.slices, strict=True):
            if dimension.width and not dimension.ordered:
                drawn = dimension.random(generator, len(points))
                chosen = changed[:, part][:, :1]
                new[:, part] = np.where(chosen, drawn, points[:, part])
        return new

    def key(self, point):
        """Returns what two points of the same values have in common."""
        return tuple(np.round(point, DECIMALS))
