"""Random Rosenbrock valleys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.ranges import checked_range

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rosenbrock(OptimizationProblem):
    """`f(w) = sum_i (1 - w_i)^2 + c (w_{i+1} - w_i^2)^2`, started at random.

    Rosenbrock 1960, "An automatic method for finding the greatest or least value of a
    function". The least value is 0, at ones. w starts uniformly in [-2, 2].

    Args:
        dimensions: int >= 2. Default 2.
        curvature: pair (low, high), 0 < low <= high, of which c is drawn uniformly in
            the logarithm; 100 is the classic. Default (1, 100).
    """

    def __init__(
        self, dimensions: int = 2, curvature: float | Sequence[float] = (1.0, 100.0)
    ) -> None:
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            dimensions = -1
        if dimensions < 2:
            raise ValueError(
                "Argument `dimensions` must be an int >= 2. "
                f"Received: dimensions={dimensions!r}."
            )
        self.dimensions = dimensions
        self.curvature = checked_range("curvature", curvature, positive=True)

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns `Problem(c, [w])`, float32 `()` and `(dimensions,)`."""
        low, high = (math.log(end) for end in self.curvature)
        curvature = tf.exp(counter_random.uniform(seed, (), low, high, stream=0))
        start = counter_random.uniform(seed, (self.dimensions,), -2.0, 2.0, stream=1)
        return Problem(curvature, [start])

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the value at w; the same whatever the seed."""
        [w] = parameters
        valley = data * tf.square(w[1:] - tf.square(w[:-1]))
        return tf.reduce_sum(tf.square(1.0 - w[:-1]) + valley)

    def optimum(self, data: Any) -> tf.Tensor | None:
        """Returns 0."""
        return tf.constant(0.0)

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, and `arguments`."""
        return super().describe() | {
            "arguments": {
                "dimensions": self.dimensions,
                "curvature": list(self.curvature),
            }
        }
