"""Persistent evolution strategies: unbiased gradients from truncated windows."""

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
class PES:
    """Persistent evolution strategies with antithetic pairs.

    Vicol, Metz & Sohl-Dickstein 2021, "Unbiased gradient estimation in unrolled
    computation graphs with persistent evolution strategies", arXiv:2112.13835,
    algorithm 2. Each task has two runs, with theta + e and theta - e, and goes on
    with each of them; a window's difference of losses is multiplied by the sum of all
    perturbations since the runs started. It needs no backward pass, so memory does
    not grow with the window, and the gradient is that of the whole run, smoothed over
    perturbations; its variance is larger than that of truncated backpropagation.

    Args:
        sigma: float > 0, standard deviation of a perturbation. Default 0.01.
    """

    particles = 2

    def __init__(self, sigma: float = 0.01) -> None:
        self.sigma = perturbation.checked_sigma(sigma)

    def carried(
        self, theta: Mapping[str, tf.Tensor], unroll: RuleUnroll
    ) -> list[tf.TensorSpec]:
        """Returns the specs of the sum of perturbations, shaped as theta."""
        return [tf.TensorSpec(value.shape, tf.float32) for value in theta.values()]

    def meta_gradient(self, window: Window) -> WindowResult:
        """Takes a window with both runs of each task; see `Truncated.meta_gradient`."""
        names = list(window.theta)
        noise = perturbation.drawn(window.theta, window.noise_seeds, self.sigma)
        losses, ended = window.unroll.forward(
            perturbation.antithetic(window.theta, noise),
            window.data,
            window.runs,
            window.num_steps,
            per_run=True,
            keep=False,
        )
        summed = {
            name: before + noise[name]
            for name, before in zip(names, window.carried, strict=True)
        }
        values = window.objective(losses[1:])
        return WindowResult(
            perturbation.mean_of_pairs(values),
            perturbation.estimate(values, summed, self.sigma),
            perturbation.mean_of_pairs(losses[1:]),
            ended,
            [summed[name] for name in names],
        )

    def get_config(self) -> dict[str, Any]:
        return {"sigma": self.sigma}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
