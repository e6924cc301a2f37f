"""Random quadratics, the first problem of the learned optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.task import check_count

if TYPE_CHECKING:
    from collections.abc import Sequence


class Quadratic(OptimizationProblem):
    """`f(w) = ||A w - b||^2`, with A and b drawn from the standard normal.

    Andrychowicz et al. 2016, arXiv:1606.04474, section 3.1. A is square, so the least
    value is 0; w starts near 0, with standard deviation `initial_scale`.

    Args:
        dimensions: int >= 1. Default 10, the paper's.
        initial_scale: float >= 0. Default 0.01, that of the paper's code.

    Example:

    ```python
    import tensorflow as tf

    problem = keras_meta.tasks.Quadratic(dimensions=4)
    (a, b), [w] = problem.sample(tf.constant([0, 1], "int64"))
    print(a.shape, b.shape, w.shape)  # (4, 4) (4,) (4,)
    ```
    """

    def __init__(self, dimensions: int = 10, initial_scale: float = 0.01) -> None:
        self.dimensions = check_count("dimensions", dimensions)
        if not 0.0 <= initial_scale < float("inf"):
            raise ValueError(
                "Argument `initial_scale` must be finite and >= 0. "
                f"Received: initial_scale={initial_scale!r}."
            )
        self.initial_scale = float(initial_scale)

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns `Problem((A, b), [w])`, float32 `(n, n)`, `(n,)` and `(n,)`."""
        n = self.dimensions
        draws = counter_random.normal(seed, (n, n + 2))
        matrix, target, start = tf.split(draws, [n, 1, 1], axis=1)
        return Problem((matrix, target[:, 0]), [self.initial_scale * start[:, 0]])

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns `||A w - b||^2`; the same whatever the seed."""
        matrix, target = data
        residual = tf.linalg.matvec(matrix, parameters[0]) - target
        return tf.reduce_sum(tf.square(residual))

    def optimum(self, data: Any) -> tf.Tensor | None:
        """Returns 0: A is square, and singular with probability zero."""
        return tf.constant(0.0)

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, and `arguments`."""
        return super().describe() | {
            "arguments": {
                "dimensions": self.dimensions,
                "initial_scale": self.initial_scale,
            }
        }
