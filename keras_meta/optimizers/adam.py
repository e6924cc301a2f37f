"""Adam as a pure rule."""

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


@keras.saving.register_keras_serializable("keras_meta", "Adam")
class Adam(LearnedOptimizer):
    """Adam with a fixed rate; nothing of it is learned.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, as in `keras.optimizers.Adam`. It
    is the inner optimizer of few-shot learners that prefer Adam, the teacher of
    learned optimizers, and what these are compared with.

    Args:
        learning_rate: float, schedule or callable. Default 0.001.
        beta_1: float in [0, 1). Default 0.9.
        beta_2: float in [0, 1). Default 0.999.
        epsilon: float > 0. Default 1e-7, Keras'.
        **kwargs: see `LearnedOptimizer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0])
    >>> keras_meta.optimizers.Adam(0.5).apply([[3.0]], [w])
    >>> round(float(w.numpy()[0]), 4)
    0.5
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta_1 = checked_number("beta_1", beta_1, 0.0, 1.0)
        self.beta_2 = checked_number("beta_2", beta_2, 0.0, 1.0)
        self.epsilon = checked_number("epsilon", epsilon, 0.0, float("inf"), low=False)

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns averages of zero."""
        return {
            "mean": [ops.zeros_like(p) for p in parameters],
            "mean_square": [ops.zeros_like(p) for p in parameters],
        }

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
        count = ops.cast(step, "float32") + 1.0
        first = 1.0 - ops.power(self.beta_1, count)
        second = ops.sqrt(1.0 - ops.power(self.beta_2, count))
        rate = ops.cast(learning_rate, "float32") * second / first
        means, squares, new = [], [], []
        for g, p, mean, square in zip(
            gradients, parameters, state["mean"], state["mean_square"], strict=True
        ):
            mean, square = ops.cast(mean, g.dtype), ops.cast(square, g.dtype)
            mean = mean + (1.0 - self.beta_1) * (g - mean)
            square = square + (1.0 - self.beta_2) * (ops.square(g) - square)
            # The root of what is kept away from 0: else its derivative is infinite.
            size = ops.sqrt(ops.maximum(square, 1e-30)) + self.epsilon
            new.append(p - ops.cast(rate, g.dtype) * mean / size)
            means.append(mean)
            squares.append(square)
        return new, {"mean": means, "mean_square": squares}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        )
        return config
