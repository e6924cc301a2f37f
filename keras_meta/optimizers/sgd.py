"""Gradient descent as a pure rule: the inner optimizer of MAML and its family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_meta.optimizers.argument_checks import checked_number
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer

if TYPE_CHECKING:
    from typing_extensions import Self

    from keras_meta.optimizers.rule_types import (
        LearningRate,
        State,
        Tensor,
        Tensors,
        Theta,
    )


@keras.saving.register_keras_serializable("keras_meta", "SGD")
class SGD(LearnedOptimizer):
    """Gradient descent with a fixed rate; nothing of it is learned.

    `w <- w - learning_rate * g`, and with momentum as in `keras.optimizers.SGD`:
    `velocity <- momentum * velocity - learning_rate * g`, `w <- w + velocity`. It is
    the inner optimizer of MAML (Finn et al. 2017, arXiv:1703.03400, equation 1).

    Args:
        learning_rate: float, schedule or callable. Default 0.01.
        momentum: float in [0, 1). Default 0.0.
        nesterov: bool, whether to look ahead along the velocity. Default False.
        **kwargs: see `LearnedOptimizer`.

    Raises:
        ValueError: if `momentum` is out of range.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0])
    >>> keras_meta.SGD(0.5).apply([[1.0]], [w])
    >>> float(w.numpy()[0])
    0.5
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = checked_number("momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)

    @classmethod
    def from_keras(cls, optimizer: keras.optimizers.SGD) -> Self:
        """Returns the same rule as a `keras.optimizers.SGD`.

        Raises:
            ValueError: for another optimizer, or settings such as clipping that are
                not part of the rule.
        """
        config = optimizer.get_config()
        extras = {
            name: config[name]
            for name in (
                "weight_decay",
                "clipnorm",
                "clipvalue",
                "global_clipnorm",
                "use_ema",
                "loss_scale_factor",
                "gradient_accumulation_steps",
            )
            if config.get(name)
        }
        if type(optimizer) is not keras.optimizers.SGD or extras:
            raise ValueError(
                "Only a plain `keras.optimizers.SGD` can be used where a "
                "`keras_meta.LearnedOptimizer` is needed. Received: "
                f"{type(optimizer).__name__} with {extras or 'no extra settings'}. "
                "Write the rule as a subclass of `keras_meta.LearnedOptimizer`."
            )
        rate = optimizer._learning_rate  # a variable, a schedule or a callable
        return cls(
            learning_rate=rate if callable(rate) else config["learning_rate"],
            momentum=config["momentum"],
            nesterov=config["nesterov"],
        )

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns zero velocities if there is momentum, else nothing."""
        if not self.momentum:
            return {}
        return {"velocity": [ops.zeros_like(p) for p in parameters]}

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
        steps = [-ops.cast(learning_rate, g.dtype) * g for g in gradients]
        if self.momentum:
            velocity = [
                self.momentum * ops.cast(v, s.dtype) + s
                for v, s in zip(state["velocity"], steps, strict=True)
            ]
            state = {"velocity": velocity}
            if self.nesterov:
                steps = [
                    self.momentum * v + s for v, s in zip(velocity, steps, strict=True)
                ]
            else:
                steps = velocity
        return [p + s for p, s in zip(parameters, steps, strict=True)], state

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update({"momentum": self.momentum, "nesterov": self.nesterov})
        return config
