"""All parameters of a model as one batch of coordinates, in chunks if it is large."""

import math

from keras import ops


class Coordinates:
    """Lays the coordinates of several tensors out in a row, and back.

    Up to `chunk_size` coordinates are one chunk of their own number; more are filled
    up with zeros to whole chunks of `chunk_size`.

    Args:
        shapes: list of tuples of int, the parameters' shapes.
        chunk_size: int >= 1.

    Attributes:
        shape: tuple, the layout: `(coordinates,)`, or `(chunks, chunk_size)`.
    """

    def __init__(self, shapes, chunk_size):
        self.shapes = [tuple(int(n) for n in shape) for shape in shapes]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.total = sum(self.sizes)
        self.is_chunked = self.total > chunk_size
        if self.is_chunked:
            self.shape = (math.ceil(self.total / chunk_size), chunk_size)
        else:
            self.shape = (self.total,)

    def row(self, tensors):
        """Returns the coordinates of tensors in one row, laid out as `shape`."""
        if not tensors:
            return ops.zeros(self.shape, "float32")
        row = ops.concatenate([ops.reshape(t, (-1,)) for t in tensors])
        if self.is_chunked:
            filling = math.prod(self.shape) - self.total
            row = ops.reshape(ops.pad(row, [(0, filling)]), self.shape)
        return row

    def tensors(self, row):
        """Returns the tensors of a row; the inverse of `row`."""
        row = ops.reshape(row, (-1,))
        tensors, first = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            tensors.append(ops.reshape(row[first : first + size], shape))
            first += size
        return tensors

    def map(self, function, values):
        """Applies a function of one chunk to each; returns what it returns, stacked.

        Args:
            function: maps a dict of tensors with leading axis coordinates to a dict
                of such.
            values: dict of tensors with leading axes `shape`.
        """
        return ops.map(function, values) if self.is_chunked else function(values)
