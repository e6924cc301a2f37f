"""What a controller of learning rates sees of each tensor of a model."""

import math

import numpy as np
from keras import ops

DYNAMIC = (
    "gradient size",
    "momentum size",
    "slow momentum size",
    "gradient along momentum",
    "momentum along slow momentum",
    "weight size",
    "direction size",
    "scaled gradient size",
    "turn",
    "slow turn",
    "straightness",
    "distance",
    "zero gradients",
)
POOLED = (1, 2, 3, 4, 5, 8, 9, 10, 11)  # of DYNAMIC, those with a mean over the model
STATIC = (
    "size",
    "fan-in",
    "fan-out",
    "vector",
    "matrix",
    "filter",
    "place",
    "number of tensors",
)
BETA, SLOW_BETA, SQUARE_BETA = 0.9, 0.99, 0.999
TURN_DECAY, SLOW_TURN_DECAY = 0.9, 0.98
TINY = 1e-20
VECTORS = ("g", "m0", "m", "s", "r", "u", "d", "d0", "p", "moved", "zero")


def static_statistics(shapes):
    """Returns float32 `(tensors, len(STATIC))`, of the shapes alone."""
    rows = []
    for index, shape in enumerate(shapes):
        size, rank = math.prod(shape), len(shape)
        fan_in = math.prod(shape[:-1]) if rank > 1 else 1
        fan_out = shape[-1] if rank else 1
        rows.append(
            [
                math.log10(size) / 2.0 - 1.0,
                math.log10(fan_in) / 1.5 - 1.0 if rank > 1 else 0.0,
                math.log10(fan_out) / 1.5 - 1.0,
                float(rank <= 1),
                float(rank == 2),
                float(rank > 2),
                (index + 0.5) / len(shapes) - 0.5,
                math.log10(len(shapes)) - 1.0,
            ]
        )
    return np.asarray(rows, "float32")


def pooling_weights(shapes):
    """Returns float32 `(tensors,)`, sum 1: by the root of a tensor's size."""
    roots = np.sqrt([math.prod(shape) for shape in shapes])
    return (roots / roots.sum()).astype("float32")


def tensor_statistics(vectors, counts, turns, path, count):
    """Returns the statistics of this step, and the two running turns.

    Args:
        vectors: dict from the names in `VECTORS` to float32 `(tensors, width)`,
            zero where a row is padded: gradient, momentum before and after, slow
            momentum, root of the mean square, gradient over that root, direction
            (momentum over that root), direction before, weights, weights less those
            of the first step, and 1 where a gradient is 0.
        counts: float32 `(tensors,)`, coordinates in each row.
        turns: tuple of two float32 `(tensors,)`, running means of the cosine between
            a gradient and the direction of the step before.
        path: float32 `(tensors,)`, root mean squares of all steps so far, added.
        count: float32 scalar, 1 at the first step.

    Returns:
        Tuple `(statistics, turns)`: `(tensors, len(DYNAMIC))`, and two `(tensors,)`.
    """

    counts = ops.convert_to_tensor(counts)

    products = {}  # A `functools.cache` breaks torch's compiled graphs.

    def product(a, b):
        if (a, b) not in products:
            products[a, b] = ops.sum(vectors[a] * vectors[b], axis=1) / counts
        return products[a, b]

    def cosine(a, b):
        sizes = ops.sqrt(product(a, a) + TINY) * ops.sqrt(product(b, b) + TINY)
        return product(a, b) / sizes

    def size(square):
        return 0.5 * ops.log10(square + TINY)

    corrected = {
        name: 1.0 - ops.power(beta, count)
        for name, beta in (("m", BETA), ("s", SLOW_BETA), ("r", SQUARE_BETA))
    }
    square = size(product("r", "r") / corrected["r"])
    turn = cosine("g", "d0")
    fast = TURN_DECAY * turns[0] + (1.0 - TURN_DECAY) * turn
    slow = SLOW_TURN_DECAY * turns[1] + (1.0 - SLOW_TURN_DECAY) * turn
    gradient = size(product("g", "g")) - square
    direction = size(product("d", "d"))
    moved = size(product("moved", "moved"))
    weight = size(product("p", "p"))
    walked = path > 0.0
    straight = moved - ops.log10(ops.where(walked, path, 1.0) + TINY)
    columns = [
        gradient,
        size(product("m", "m")) - ops.log10(corrected["m"]) - square,
        size(product("s", "s")) - ops.log10(corrected["s"]) - square,
        cosine("g", "m0"),
        cosine("m", "s"),
        weight + 1.0,
        direction + 0.5,
        size(product("u", "u")),
        5.0 * fast,
        10.0 * slow,
        ops.where(walked, straight, 0.0),
        ops.where(walked, moved - ops.maximum(weight, -3.0) + 1.0, 0.0),
        product("zero", "zero"),
    ]
    return ops.clip(ops.stack(columns, axis=1), -3.0, 3.0), (fast, slow)
