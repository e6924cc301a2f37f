"""Evolution strategies on truncated windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_meta.training.long_runs import perturbation
from keras_meta.training.long_runs.window import WindowResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from keras_meta.training.long_runs.rule_unroll import RuleUnroll
    from keras_meta.training.long_runs.window import Window


@keras.saving.register_keras_serializable("keras_meta")
class ES:
    """Evolution strategies with antithetic pairs, window by window.

    Both perturbed runs of a task start where its one run, which goes on with theta
    itself, stands. As truncated backpropagation it is blind to what lies beyond the
    window; as PES it needs no backward pass and smooths the objective (Vicol et al.
    2021, arXiv:2112.13835, section 3).

    Args:
        sigma: float > 0, standard deviation of a perturbation. Default 0.01.
    """

    particles = 1

    def __init__(self, sigma: float = 0.01) -> None:
        self.sigma = perturbation.checked_sigma(sigma)

    def carried(
        self, theta: Mapping[str, tf.Tensor], unroll: RuleUnroll
    ) -> list[tf.TensorSpec]:
        """Returns `[]`: nothing but the runs themselves."""
        return []

    def meta_gradient(self, window: Window) -> WindowResult:
        """Takes a window with two perturbed runs, and once more without."""
        noise = perturbation.drawn(window.theta, window.noise_seeds, self.sigma)
        both, data = tf.nest.map_structure(
            lambda part: tf.concat([part, part], axis=0), (window.runs, window.data)
        )
        perturbed, _ = window.unroll.forward(
            perturbation.antithetic(window.theta, noise),
            data,
            both,
            window.num_steps,
            per_run=True,
            keep=False,
        )
        losses, ended = window.unroll.forward(
            window.theta, window.data, window.runs, window.num_steps, keep=False
        )
        gradients = perturbation.estimate(
            window.objective(perturbed[1:]), noise, self.sigma
        )
        values = window.objective(losses[1:])
        return WindowResult(values, gradients, losses[1:], ended, [])

    def get_config(self) -> dict[str, Any]:
        return {"sigma": self.sigma}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
