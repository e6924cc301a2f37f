"""Truncated backpropagation through time (Andrychowicz et al. 2016, section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta.training.long_runs.meta_objective import value_and_weights
from keras_meta.training.long_runs.window import WindowResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from keras_meta.training.long_runs.rule_unroll import RuleUnroll
    from keras_meta.training.long_runs.window import Window


@keras.saving.register_keras_serializable("keras_meta")
class Truncated:
    """The gradient of a window, which takes what came before it for constant.

    Cheap and of low variance; biased towards what pays off within the window.
    """

    particles = 1

    def carried(
        self, theta: Mapping[str, tf.Tensor], unroll: RuleUnroll
    ) -> list[tf.TensorSpec]:
        """Returns `[]`: nothing but the runs themselves."""
        return []

    def meta_gradient(self, window: Window) -> WindowResult:
        """Unrolls the rule over the window and differentiates its objective.

        Args:
            window: `Window`.

        Returns:
            `WindowResult`.
        """
        theta, data, runs = window.theta, window.data, window.runs
        trajectory, ended = window.unroll.forward(theta, data, runs, window.num_steps)
        losses = trajectory.losses[1:]
        values, weights = value_and_weights(window.objective, losses)
        upstream = [
            tf.reshape(weights, [*weights.shape, *[1] * (len(g.shape) - 2)]) * g[1:]
            for g in trajectory.gradients
        ]
        gradients = window.unroll.backward(theta, data, runs, trajectory, upstream)
        return WindowResult(values, gradients, losses, ended, [])

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
