"""Problems whose parameters are measured in other units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.ranges import checked_range

if TYPE_CHECKING:
    from collections.abc import Sequence


# Far from the streams that the problems inside draw from; another one for each layer
# of reparametrisation.
STREAM = 10_000


class Reparametrized(OptimizationProblem):
    """A problem in parameters `v = w / s`, with scales s drawn for each task.

    Metz et al. 2022, "VeLO", arXiv:2211.09760, appendix on task augmentation: what an
    optimizer learns on it holds for weights of any scale. The loss does not change;
    gradients and parameters do. A scale is the product of one for the tensor and one
    for the coordinate, uniform in the logarithm.

    Args:
        problem: `OptimizationProblem`.
        tensor_scales: pair (low, high), 0 < low <= high. Default (0.1, 10).
        coordinate_scales: the same, for each coordinate. Default (1, 1): none.
    """

    def __init__(
        self,
        problem: OptimizationProblem,
        tensor_scales: float | Sequence[float] = (0.1, 10.0),
        coordinate_scales: float | Sequence[float] = (1, 1),
    ) -> None:
        if not isinstance(problem, OptimizationProblem):
            raise TypeError(
                "Argument `problem` must be a `keras_meta.tasks.OptimizationProblem`. "
                f"Received: {type(problem).__name__}."
            )
        self.problem = problem
        self.depth = 1 + getattr(problem, "depth", 0)
        self.tensor_scales = checked_range(
            "tensor_scales", tensor_scales, positive=True
        )
        self.coordinate_scales = checked_range(
            "coordinate_scales", coordinate_scales, positive=True
        )

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns `Problem((data, scales), parameters)`; scales shaped as these."""
        data, parameters = self.problem.sample(seed)
        scales = []
        for index, parameter in enumerate(parameters):
            logarithm = self._draw(seed, (), self.tensor_scales, 2 * index)
            logarithm += self._draw(
                seed, parameter.shape, self.coordinate_scales, 2 * index + 1
            )
            scales.append(tf.exp(logarithm))
        scaled = [p / s for p, s in zip(parameters, scales, strict=True)]
        return Problem((data, scales), scaled)

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the loss of the problem inside, in its own parameters."""
        data, scales = data
        inside = [p * s for p, s in zip(parameters, scales, strict=True)]
        return self.problem.loss(data, inside, seed)

    def optimum(self, data: Any) -> tf.Tensor | None:
        """Returns that of the problem inside."""
        return self.problem.optimum(data[0])

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the scales, and those of the problem inside."""
        return {
            "class_name": type(self).__name__,
            "problem": self.problem.describe(),
            "tensor_scales": list(self.tensor_scales),
            "coordinate_scales": list(self.coordinate_scales),
        }

    def _draw(self, seed, shape, ends, number):
        low, high = (math.log(end) for end in ends)
        return counter_random.uniform(
            seed, shape, low, high, stream=STREAM * self.depth + number
        )
