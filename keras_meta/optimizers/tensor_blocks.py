"""A model's tensors as few flat blocks, and an evenly spread sample of each tensor."""

import math

import numpy as np
from keras import ops

RUN = 16  # neighbouring entries that a sample takes together: a line of a CPU's cache
BLOCK = 32768  # entries that small tensors are joined to: they stay in a core's cache
LEAST_SAMPLE, ALL_SAMPLES = 256, 8192  # entries: of one tensor, of all together


class TensorBlocks:
    """Where each tensor of a model lies, and which entries stand for it.

    Neighbouring small tensors lie behind one another in one block, so that a rule
    computes them by one operation; each other tensor is a block. Statistics are taken
    of a sample: a tensor of few entries is taken whole; of a larger one, cut into runs
    of 16 neighbours, every k-th run, with a k that no dimension shares a factor with,
    so that all rows and columns have their part.

    Args:
        shapes: list of tuples of int, the tensors' shapes; none is empty.

    Attributes:
        width: int, the columns of a sample.
        counts: float32 `(tensors,)`: how many entries of each row were taken.
        inside: bool `(tensors, width)`: which entries of a sample are not padding.
    """

    def __init__(self, shapes):
        self._shapes = [tuple(shape) for shape in shapes]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self._blocks = _grouped(self._sizes)
        limit = max(LEAST_SAMPLE, ALL_SAMPLES // len(shapes)) // RUN * RUN
        self._strides = [
            _stride(shape, size, limit)
            for shape, size in zip(self._shapes, self._sizes, strict=True)
        ]
        counts = [min(size, limit) for size in self._sizes]
        self.width = max(counts)
        self.counts = np.asarray(counts, "float32")
        self.inside = np.arange(self.width) < self.counts[:, None]

    def join(self, tensors):
        """Returns the tensors as a list of flat blocks."""
        flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
        return [
            flat[block[0]]
            if len(block) == 1
            else ops.concatenate([flat[i] for i in block])
            for block in self._blocks
        ]

    def take(self, blocks):
        """Returns the samples, `(tensors, width)`, padded with zeros."""
        rows = []
        for values, block in zip(blocks, self._blocks, strict=True):
            if len(block) == 1:
                row = self._row(values, block[0])
                if row.shape[0] < self.width:
                    row = ops.pad(row, (0, self.width - row.shape[0]))
                rows.append(ops.expand_dims(row, 0))
            else:
                taken = ops.take(values, self._index(block), axis=0)
                inside = self.inside[block[0] : block[-1] + 1]
                rows.append(ops.where(inside, taken, ops.zeros((), values.dtype)))
        return ops.concatenate(rows) if len(rows) > 1 else rows[0]

    def scaled(self, blocks, factors):
        """Returns the tensors of blocks, each times its factor.

        Args:
            blocks: list of flat tensors.
            factors: `(tensors,)`.
        """
        factors = ops.unstack(factors, len(self._shapes))
        tensors = []
        for values, block in zip(blocks, self._blocks, strict=True):
            parts = [values]
            if len(block) > 1:
                ends = np.cumsum([self._sizes[i] for i in block])[:-1]
                parts = ops.split(values, [int(end) for end in ends])
            for index, part in zip(block, parts, strict=True):
                part = part * ops.cast(factors[index], part.dtype)
                tensors.append(ops.reshape(part, self._shapes[index]))
        return tensors

    def _row(self, values, index):
        """Returns the sample of a tensor that is a block."""
        if int(self.counts[index]) < self._sizes[index]:
            values = ops.take(values, self._places(index), axis=0)
        return values

    def _index(self, block):
        """Returns int32 `(tensors of the block, width)`; padding reads the first."""
        index = np.zeros((len(block), self.width), "int32")
        start = 0
        for row, i in zip(index, block, strict=True):
            places = self._places(i)
            row[: len(places)] = start + places
            start += self._sizes[i]
        return index

    def _places(self, index):
        """Returns which entries of a flat tensor are its sample: int32 vector."""
        place = np.arange(int(self.counts[index]), dtype="int32")
        return place // RUN * self._strides[index] * RUN + place % RUN


def _grouped(sizes):
    """Returns lists of neighbouring indices, each list a block."""
    blocks, filled = [], BLOCK
    for index, size in enumerate(sizes):
        if filled + size > BLOCK:
            blocks.append([])
            filled = 0
        blocks[-1].append(index)
        filled += size
    return blocks


def _stride(shape, size, limit):
    """Returns of how many runs one is taken."""
    stride = max(size // limit, 1)
    while any(math.gcd(stride, length) > 1 for length in shape):
        stride -= 1
    return stride
