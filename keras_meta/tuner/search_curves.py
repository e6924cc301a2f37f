"""What a search's own learning curves say of one of its trials."""

import numpy as np
from keras_tuner.engine import trial as trial_module

COMPLETED = trial_module.TrialStatus.COMPLETED


def sign_of(objective):
    """Returns the float that makes the objective's scores higher where better."""
    return -1.0 if objective.direction == "min" else 1.0


def curve_of(trial, objective):
    """Returns the trial's scores by epoch, higher is better, a list of float.

    Args:
        trial: KerasTuner's trial.
        objective: `keras_tuner.Objective`.
    """
    if not trial.metrics.exists(objective.name):
        return []
    history = trial.metrics.get_history(objective.name)
    return [sign_of(objective) * float(np.mean(one.value)) for one in history]


def stops(rule, trial, trials, stopped, objective):
    """Returns whether a trial should stop after the epoch that it has just reported.

    Args:
        rule: `EarlyStopping`.
        trial: KerasTuner's trial.
        trials: list of all trials of the search.
        stopped: list of str, ids of the trials that were stopped before.
        objective: `keras_tuner.Objective`.
    """
    others = [t for t in trials if t.trial_id != trial.trial_id]
    curve = curve_of(trial, objective)
    curves = [curve_of(other, objective) for other in others]
    if not any(len(one) > 1 for one in [curve, *curves]):
        return False  # This tuner reports each trial once, at its end.
    final = [
        sign_of(objective) * t.score
        for t in others
        if t.status == COMPLETED
        and t.trial_id not in stopped
        and t.score is not None
        and np.isfinite(t.score)
    ]
    return rule.stops(curve, curves, final)


def known_score(rule, trial, trials, stopped, objective):
    """Returns an ended trial's score, higher is better, or NaN.

    Of a trial that was stopped early, what it is predicted to have reached.

    Args:
        rule: `EarlyStopping` or None.
        trial, trials, stopped, objective: see `stops`.
    """
    if trial.status != COMPLETED or not np.isfinite(trial.score):
        return np.nan
    score = sign_of(objective) * trial.score
    if trial.trial_id in stopped and rule is not None:
        others = [curve_of(t, objective) for t in trials if t is not trial]
        predicted = rule.predicted(curve_of(trial, objective), others)
        score = score if predicted is None else max(score, predicted[0])
    return score
