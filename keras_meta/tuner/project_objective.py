"""Tells what a KerasTuner project searched for: its files do not say.

`oracle.json` holds no objective. But a trial's score is the best value of the
objective's metric, and each metric is stored with its direction.
"""

import dataclasses
import math

SMALLER_IS_BETTER = ("crossentropy", "error", "loss", "mae", "mse", "objective")
LARGER_IS_BETTER = ("acc", "accuracy", "auc", "precision", "recall")


class ProjectError(ValueError):
    """Says why a project folder cannot be imported as a whole."""


@dataclasses.dataclass(frozen=True)
class BestValue:
    """Holds what KerasTuner takes for a metric's value in one trial.

    Attributes:
        direction: `"min"` or `"max"`.
        value: float, the best over the steps of the mean over executions, nan if
            there is no number among them.
        step: int, the step of the best value, or None.
    """

    direction: str
    value: float
    step: int | None


def infer_direction(name):
    """Guesses whether a metric of this name is to fall or to rise.

    Args:
        name: str, a metric's name, with or without `val_`.

    Returns:
        `"min"`, `"max"`, or None if the name does not tell.

    Example:

    >>> infer_direction("val_accuracy"), infer_direction("my_metric")
    ('max', None)
    """
    last = name.lower().replace("-", "_").rpartition("_")[2]
    if last.endswith(SMALLER_IS_BETTER):
        return "min"
    return "max" if last.endswith(LARGER_IS_BETTER) else None


def told_direction(name):
    """Returns the direction that a metric's name tells.

    Args:
        name: str, a metric's name.

    Returns:
        `"min"` or `"max"`.

    Raises:
        ValueError: if the name does not tell; the message names `direction=`.
    """
    direction = infer_direction(name)
    if direction is None:
        raise ValueError(
            f"Whether {name!r} is to fall or to rise cannot be told from its name: "
            "pass `direction=` 'min' or 'max'. "
            f"Received: objective={name!r}, direction=None."
        )
    return direction


def split_objective(objective, direction=None):
    """Returns the name and the direction of an objective, as far as it has them.

    Args:
        objective: str, an object with `name` and `direction` such as
            `keras_tuner.Objective`, or None.
        direction: `"min"`, `"max"` or None, for an objective that is a str.

    Returns:
        `(name, direction)`, each a str or None.

    Raises:
        ValueError: if an argument is something else.
    """
    name = objective
    if hasattr(objective, "name") and hasattr(objective, "direction"):
        name, direction = objective.name, direction or objective.direction
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(
            "Argument `objective` must be a metric's name or a "
            f"`keras_tuner.Objective`. Received: objective={objective!r}."
        )
    if direction not in (None, "min", "max") or (direction and name is None):
        raise ValueError(
            "An objective's direction must be 'min' or 'max', and goes with the name "
            f"of a metric. Received: objective={name!r}, direction={direction!r}."
        )
    return name, direction


def choose_objective(results, objective=None, direction=None):
    """Finds the metric that scored a project's trials, and its direction.

    Args:
        results: list of `(score, bests)` for each trial: float or None, and dict of
            metric name to `BestValue`.
        objective: str or `keras_tuner.Objective`, what to take instead. Default:
            what the scores show.
        direction: `"min"` or `"max"`, for an objective that is a str. Default: what
            the files say, or the metric's name.

    Returns:
        `(name, direction, own)`: own is whether the scores that the trials have are
        this objective's.

    Raises:
        ProjectError: if the files do not tell; the message names `objective=`.
    """
    name, direction = split_objective(objective, direction)
    scored = [pair for pair in results if pair[0] is not None]
    recorded = {}
    for _, bests in results:
        for metric, best in bests.items():
            recorded.setdefault(metric, best.direction)
    scoring = [metric for metric in recorded if _explains(metric, scored)]
    if name is None:
        name = _only(scoring, recorded, scored)
    elif recorded and name not in recorded and (scoring or not scored):
        raise ProjectError(
            f"No trial recorded the objective {name!r}. Pass `objective=` one of the "
            f"recorded metrics: {_list(recorded)}."
        )
    own = name in scoring or name not in recorded or not scored
    if direction is None and name in scoring:
        direction = recorded[name]
    elif direction is None:
        # KerasTuner writes "min" also for metrics that it does not know.
        direction = infer_direction(name)
        if direction is None and recorded.get(name) == "max":
            direction = "max"
    if direction is None:
        raise ProjectError(
            f"Whether {name!r} is to fall or to rise cannot be told: pass "
            "`direction=` 'min' or 'max', too."
        )
    return name, direction, own


def _explains(metric, scored):
    """Tells whether every score is the best value of this metric."""
    return any(metric in bests for _, bests in scored) and all(
        metric in bests
        and math.isclose(bests[metric].value, score, rel_tol=1e-9, abs_tol=0.0)
        for score, bests in scored
        if bests
    )


def _only(scoring, recorded, scored):
    if len(scoring) == 1:
        return scoring[0]
    if scoring:
        found = f"the scores are equal to those of {_list(scoring)}"
    elif scored:
        found = f"no recorded metric has the scores' values: {_list(recorded)}"
    else:
        found = f"no trial has a score yet; recorded metrics: {_list(recorded)}"
    raise ProjectError(
        f"The objective of the search cannot be told: {found}. Pass `objective=`, the "
        "name of its metric or a `keras_tuner.Objective`."
    )


def _list(names):
    names = sorted(map(repr, names))
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "none"
