"""What a learned optimizer trains on: a distribution over problems of one shape."""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence


class Problem(typing.NamedTuple):
    """One optimisation problem: what defines it, and where a run of it starts.

    Attributes:
        data: nest of tensors, may be `()`.
        parameters: list of float32 tensors, the first iterate.
    """

    data: typing.Any
    parameters: list


class OptimizationProblem:
    """Base class of the problems on which `OptimizerTrainer` trains an optimizer.

    A subclass writes `sample` and `loss`, pure functions of graph-safe TensorFlow
    operations; `keras_meta.tasks.counter_random` has the draws. All problems of one
    distribution have the same shapes; for several shapes pass several distributions.

    Example:

    ```python
    import tensorflow as tf
    from keras_meta.tasks import OptimizationProblem, Problem, counter_random

    class Bowl(OptimizationProblem):
        def sample(self, seed):
            centre = counter_random.normal(seed, (3,), stream=0)
            return Problem(centre, [tf.zeros(3)])

        def loss(self, data, parameters, seed):
            return tf.reduce_sum((parameters[0] - data) ** 2)

    data, parameters = Bowl().sample(tf.constant([0, 7], "int64"))
    print(Bowl().loss(data, parameters, None).shape)  # ()
    ```
    """

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns the `Problem` that belongs to `seed`, an int64 tensor `(2,)`."""
        raise NotImplementedError(
            f"Class {type(self).__name__} must implement `sample(seed)` and return a "
            "Problem."
        )

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the loss that an optimizer sees at one step.

        Args:
            data: as `sample` returned it.
            parameters: list of float32 tensors.
            seed: int64 tensor `(2,)`, another one at each step: it draws the
                mini-batch, if there is one.

        Returns:
            float32 scalar.
        """
        raise NotImplementedError(
            f"Class {type(self).__name__} must implement "
            "`loss(data, parameters, seed)`."
        )

    def optimum(self, data: Any) -> tf.Tensor | None:
        """Returns the least loss, a float32 scalar; None where it is not known."""
        return None

    @functools.cached_property
    def element_spec(self) -> Problem:
        """`Problem` of `tf.TensorSpec`."""
        traced = tf.function(
            lambda seed: Problem(*self.sample(seed)), autograph=False
        ).get_concrete_function(tf.TensorSpec((2,), tf.int64))
        return tf.nest.map_structure(
            lambda output: tf.TensorSpec(output.shape, output.dtype),
            traced.structured_outputs,
        )

    @property
    def parameter_shapes(self) -> list[tuple[int, ...]]:
        """list of tuples of int."""
        return [tuple(spec.shape.as_list()) for spec in self.element_spec.parameters]

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts for a preset's card: names and sizes, no data."""
        return {
            "class_name": type(self).__name__,
            "parameters": [list(shape) for shape in self.parameter_shapes],
        }
