"""Checks of the settings of long runs, before any graph is traced."""

from keras_meta.tasks.task import check_count
from keras_meta.training.long_runs import LONG_RUN_GRADIENTS
from keras_meta.training.long_runs.problem_source import ProblemSource
from keras_meta.training.long_runs.rule_unroll import MAX_STEPS
from keras_meta.training.trainer_settings import checked_choice


def checked_horizon(horizon, truncation):
    """Returns the horizon as a pair of int, at least the truncation."""
    pair = horizon if isinstance(horizon, (tuple, list)) else (horizon, horizon)
    if len(pair) != 2:
        raise ValueError(
            "Argument `horizon` must be an int or a pair (least, greatest). Received: "
            f"horizon={horizon!r}."
        )
    low, high = (check_count("horizon", end) for end in pair)
    if low > high:
        raise ValueError(
            "Argument `horizon` must be a pair (least, greatest). Received: "
            f"horizon={horizon!r}."
        )
    if not truncation <= low <= high < MAX_STEPS:
        raise ValueError(
            "Argument `truncation` must be at most the horizon, and the horizon below "
            f"{MAX_STEPS}. Received: truncation={truncation}, horizon={horizon!r}."
        )
    return (low, high)


def checked_long_run_gradient(meta_gradient):
    """Returns the object of `LONG_RUN_GRADIENTS` that is meant."""
    if isinstance(meta_gradient, tuple(LONG_RUN_GRADIENTS.values())):
        return meta_gradient
    return LONG_RUN_GRADIENTS[
        checked_choice("meta_gradient", meta_gradient, tuple(LONG_RUN_GRADIENTS))
    ]()


def check_has_theta(optimizer, theta_names):
    """Raises ValueError for an optimizer that has nothing to learn on any model."""
    if not theta_names:
        raise ValueError(
            "Argument `optimizer` must have a theta that does not depend on the "
            "model, such as `keras_meta.LSTMOptimizer()`. Received: "
            f"{type(optimizer).__name__}. Rates for each weight are learned with "
            "`keras_meta.MetaTrainer`."
        )


def check_runs(tasks, meta_batch_size, validation_tasks):
    """Raises unless a meta-batch divides among the problems, and one validates."""
    count = len(ProblemSource(tasks, 0).problems)
    if check_count("meta_batch_size", meta_batch_size) % count:
        raise ValueError(
            "Argument `meta_batch_size` must be a multiple of the number of problems. "
            f"Received: meta_batch_size={meta_batch_size} for {count} problems."
        )
    is_list = isinstance(validation_tasks, (list, tuple))
    if is_list and len(validation_tasks) != 1:
        raise ValueError(
            "Argument `validation_tasks` must be one problem. Received: "
            f"{len(validation_tasks)}."
        )
