"""The tasks and nets of the meta-step benchmarks, the same for every library.

Dense: sinusoids, 1-40-40-1. Convolutional: few-shot images, four convolutions 3x3 of
stride 2 with batch normalisation; the images are noise, since time is what counts.
"""

import sys
import time

import numpy as np

DENSE_TASKS = 25
DENSE_WIDTHS = (1, 40, 40, 1)
SHOTS = 10  # of the dense task, support and query each
CONV_TASKS = 16
CLASSES, EXAMPLES, SIDE = 100, 20, 28
WAYS, QUERIES = 5, 5
FILTERS, CONV_LAYERS = 32, 4
# Small: only the time counts, and nothing must overflow, which stops our `fit`.
RATE = 0.001
OUTER_RATE = 1e-6
BATCH_NORM_EPSILON = 1e-3


def conv_images():
    """Returns float32 `(CLASSES, EXAMPLES, SIDE, SIDE)` noise: time is what counts."""
    return np.random.default_rng(0).random(
        (CLASSES, EXAMPLES, SIDE, SIDE), dtype="float32"
    )


def initial_weights(network):
    """Returns He-initialised weights in Keras' order, float32 arrays."""
    rng = np.random.default_rng(0)
    shapes = []
    if network == "dense":
        for rows, columns in zip(DENSE_WIDTHS, DENSE_WIDTHS[1:], strict=False):
            shapes += [(rows, columns), (columns,)]
    else:
        for layer in range(CONV_LAYERS):
            shapes.append((3, 3, FILTERS if layer else 1, FILTERS))
            shapes += [(FILTERS,)] * 3
        side = SIDE
        for _ in range(CONV_LAYERS):
            side = -(-side // 2)
        shapes += [(side * side * FILTERS, WAYS), (WAYS,)]
    weights = []
    for index, shape in enumerate(shapes):
        if len(shape) > 1:
            scale = np.sqrt(2.0 / np.prod(shape[:-1]))
            weights.append(rng.normal(0.0, scale, shape).astype("float32"))
        else:
            gamma = network == "conv" and index % 4 == 2 and index < 4 * CONV_LAYERS
            weights.append(np.full(shape, float(gamma), "float32"))
    return weights


def serve(take_steps):
    """Answers each line of stdin with the seconds `take_steps()` needs."""
    take_steps()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        take_steps()
        print(time.perf_counter() - start, flush=True)
