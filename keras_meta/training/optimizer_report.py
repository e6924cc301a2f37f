"""A picture of a learned optimizer: how it was trained, how it runs, what it does."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_meta.tasks.task import check_count
from keras_meta.training.long_runs.loss_curves import (
    BASELINES,
    RATES,
    best_of_rates,
    loss_curves,
)
from keras_meta.training.long_runs.problem_source import ProblemSource

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from keras_meta.tasks import OptimizationProblem
    from keras_meta.training import OptimizerTrainer

GRADIENT_POWERS = (-6.0, 1.0)  # of ten, the gradients whose steps are shown
SHOWN_STEPS = (1, 10, 100)  # at which step of a run with one constant gradient


def report_optimizer(
    trainer: OptimizerTrainer,
    tasks: OptimizationProblem,
    path: str | os.PathLike,
    steps: int | None = None,
    episodes: int = 16,
    last: int = 10,
    rates: Sequence[float] = RATES,
) -> dict[str, dict[str, Any]]:
    """Compares a learned optimizer with hand-made ones, and draws one PNG.

    Three pictures: the loss of the last `fit`; the mean loss of new problems, step by
    step, of the learned optimizer and of Adam, RMSprop, SGD, SGD with momentum and
    Nesterov's, each at its best rate of the grid; and what step the learned optimizer
    takes for a gradient, at the first step and later in a run in which the gradient
    stays as it is.

    Needs matplotlib: `pip install keras_meta[demo]`.

    Args:
        trainer: `OptimizerTrainer`.
        tasks: `keras_meta.tasks.OptimizationProblem`.
        path: str or `os.PathLike` that ends in `.png`, in an existing folder.
        steps: int >= 1. Default: the trainer's greatest horizon.
        episodes: int >= 1, how many problems.
        last: int >= 1, the best rate has the least mean loss of so many last steps.
        rates: list of float, the grid. Default: half-powers of ten from 1e-5 to 10.

    Returns:
        Dict from the optimizer's name to `{"rate": float or None, "loss": [float]}`,
        mean losses before the first step and after each.

    Raises:
        ImportError: without matplotlib.
        TypeError, ValueError: for arguments that cannot work.
    """
    if not hasattr(trainer, "learned_optimizer"):
        raise TypeError(
            "Argument `trainer` must be an OptimizerTrainer. Received: "
            f"{type(trainer).__name__}."
        )
    path = pathlib.Path(path)
    if path.suffix != ".png":
        raise ValueError(
            f"Argument `path` must end in '.png'. Received: {str(path)!r}."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"Argument `path` must lie in an existing folder. Received: {str(path)!r}."
        )
    figure_class = _figure_class()
    problems = ProblemSource(tasks, 0).problems
    if len(problems) != 1:
        raise TypeError(
            "`report_optimizer` takes one problem, so that losses are of one scale. "
            f"Received: {len(problems)}. Call it for each."
        )
    problem = problems[0]
    steps = trainer.horizon[1] if steps is None else check_count("steps", steps)
    last = min(check_count("last", last), steps)
    rates = list(rates)
    if not rates:
        raise ValueError("Argument `rates` must hold at least one rate. Received: [].")
    optimizer = trainer.learned_optimizer()
    name = type(optimizer).__name__
    learned = loss_curves(optimizer, problem, steps, episodes)
    results = {name: {"rate": None, "loss": learned.mean(axis=0).tolist()}}
    for label, rule in BASELINES.items():
        curves = loss_curves(rule(0.1), problem, steps, episodes, rates=rates)
        rate, best = best_of_rates(curves, rates, last)
        results[label] = {"rate": rate, "loss": best.mean(axis=0).tolist()}
    figure = figure_class(figsize=(15, 4.5), layout="constrained")
    training, running, rule = figure.subplots(1, 3)
    _draw_training(training, trainer)
    _draw_curves(running, results)
    _draw_rule(rule, optimizer)
    figure.savefig(path, dpi=100)
    return results


def update_rule(optimizer, gradients, steps):
    """Returns the moves of an optimizer for gradients that stay as they are.

    Args:
        optimizer: `LearnedOptimizer` with a theta.
        gradients: float array `(weights,)`.
        steps: list of int >= 1, increasing.

    Returns:
        float32 array `(len(steps), weights)`: the move at each of these steps.
    """
    theta = {name: tf.constant(v) for name, v in optimizer.theta_values().items()}
    gradients = tf.constant(gradients, "float32")
    parameters = [tf.zeros_like(gradients)]
    state = optimizer.initial_state(theta, parameters)
    moves = []
    for step in range(max(steps)):
        new, state = optimizer.pure_step(theta, state, [gradients], parameters, step)
        if step + 1 in steps:
            moves.append(keras.ops.convert_to_numpy(new[0] - parameters[0]))
    return np.stack(moves)


def _draw_training(axes, trainer):
    history = getattr(trainer, "history", None)
    values = history.history.get("loss", []) if history is not None else []
    axes.plot(np.arange(1, len(values) + 1), values, marker=".")
    axes.set(title="meta-training", xlabel="epoch", ylabel="meta-loss")


def _draw_curves(axes, results):
    for label, result in results.items():
        rate = result["rate"]
        text = label if rate is None else f"{label}, rate {rate:g}"
        axes.plot(result["loss"], label=text, linewidth=3 if rate is None else 1)
    losses = np.array([result["loss"] for result in results.values()])
    if np.nanmin(losses) > 0:
        axes.set_yscale("log")
    axes.set(title="new problems", xlabel="step", ylabel="mean loss")
    axes.legend()


def _draw_rule(axes, optimizer):
    sizes = np.logspace(*GRADIENT_POWERS, 100)
    gradients = np.concatenate([-sizes[::-1], sizes])
    for step, moves in zip(
        SHOWN_STEPS, update_rule(optimizer, gradients, SHOWN_STEPS), strict=True
    ):
        axes.plot(gradients, moves, label=f"step {step}")
    axes.set_xscale("symlog", linthresh=sizes[0])
    shown = sizes[[0, 50, -1]]
    axes.set_xticks([*-shown[::-1], *shown])
    axes.set_xticklabels([f"{value:.0e}" for value in [*-shown[::-1], *shown]])
    axes.minorticks_off()
    axes.set(title="update rule", xlabel="gradient, held constant", ylabel="move")
    axes.legend()


def _figure_class():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "A report is drawn with matplotlib, which is not installed. Run `pip "
            "install 'keras_meta[demo]'` or `pip install matplotlib`."
        ) from error
    return Figure
