"""RMSprop as a pure rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_meta.optimizers.argument_checks import checked_number
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer

if TYPE_CHECKING:
    from keras_meta.optimizers.rule_types import (
        LearningRate,
        State,
        Tensor,
        Tensors,
        Theta,
    )


@keras.saving.register_keras_serializable("keras_meta", "RMSprop")
class RMSprop(LearnedOptimizer):
    """RMSprop with a fixed rate; nothing of it is learned.

    Tieleman & Hinton 2012, lecture 6.5, as in `keras.optimizers.RMSprop`, without
    momentum: `w <- w - learning_rate * g / sqrt(v + epsilon)`.

    Args:
        learning_rate: float, schedule or callable. Default 0.001.
        rho: float in [0, 1), of the average of squares. Default 0.9.
        epsilon: float > 0. Default 1e-7, Keras'.
        **kwargs: see `LearnedOptimizer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0])
    >>> keras_meta.optimizers.RMSprop(0.5, rho=0.75).apply([[3.0]], [w])
    >>> round(float(w.numpy()[0]), 4)
    0.0
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.rho = checked_number("rho", rho, 0.0, 1.0)
        self.epsilon = checked_number("epsilon", epsilon, 0.0, float("inf"), low=False)

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns averages of zero."""
        return {"mean_square": [ops.zeros_like(p) for p in parameters]}

    def update(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        learning_rate: Tensor = 1.0,
    ) -> tuple[Tensors, State]:
        """Computes one step; see `LearnedOptimizer.update`."""
        squares, new = [], []
        for g, p, square in zip(
            gradients, parameters, state["mean_square"], strict=True
        ):
            square = ops.cast(square, g.dtype)
            square = self.rho * square + (1.0 - self.rho) * ops.square(g)
            rate = ops.cast(learning_rate, g.dtype)
            new.append(p - rate * g / ops.sqrt(square + self.epsilon))
            squares.append(square)
        return new, {"mean_square": squares}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update({"rho": self.rho, "epsilon": self.epsilon})
        return config
