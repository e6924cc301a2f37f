import math

import keras_tuner
import pytest

from keras_meta.tuner.project_objective import (
    BestValue,
    ProjectError,
    choose_objective,
    infer_direction,
    split_objective,
)


def result(score, **metrics):
    """One trial; a metric is (direction, best value)."""
    return score, {name: BestValue(*best, 0) for name, best in metrics.items()}


TWO = [
    result(0.5, gain=("max", 0.5), loss=("min", 0.5)),
    result(0.7, gain=("max", 0.7), loss=("min", 0.2)),
    result(None, gain=("max", math.nan), loss=("min", math.nan)),
]


def test_objective_is_the_metric_that_has_all_scores():
    assert choose_objective(TWO) == ("gain", "max", True)


def test_mean_that_is_summed_in_another_order_is_the_same_score():
    score = (0.1 + 0.2) + 0.3
    assert score != math.fsum((0.1, 0.2, 0.3))
    results = [result(score, gain=("max", math.fsum((0.1, 0.2, 0.3))))]
    assert choose_objective(results) == ("gain", "max", True)


def test_objective_is_another_one_on_request():
    assert choose_objective(TWO, "loss") == ("loss", "min", False)
    objective = keras_tuner.Objective("loss", "max")
    assert choose_objective(TWO, objective) == ("loss", "max", False)
    assert choose_objective(TWO, "gain") == ("gain", "max", True)


def test_direction_that_kerastuner_only_supposed_is_not_taken():
    # It writes "min" for each metric that it does not know.
    results = [result(0.5, gain=("max", 0.5), my_f1=("min", 0.4))]
    with pytest.raises(ProjectError, match="'my_f1' is to fall or to rise.*`direction"):
        choose_objective(results, "my_f1")
    assert choose_objective(results, "my_f1", "max") == ("my_f1", "max", False)


def test_score_of_the_users_own_is_taken_by_the_name_he_gives():
    results = [result(3.5, gain=("max", 0.5)), result(2.5, gain=("max", 0.6))]
    with pytest.raises(ProjectError, match="no recorded metric has.*: 'gain'. Pass"):
        choose_objective(results)
    assert choose_objective(results, "mine", "min") == ("mine", "min", True)


def test_trials_without_a_score_do_not_tell():
    results = [result(None, loss=("min", math.nan))]
    with pytest.raises(ProjectError, match="no trial has a score yet.*'loss'"):
        choose_objective(results)
    assert choose_objective(results, "loss") == ("loss", "min", True)
    with pytest.raises(ProjectError, match="No trial recorded the objective 'auc'"):
        choose_objective(results, "auc")
    assert choose_objective([result(None)], "auc") == ("auc", "max", True)


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_loss", "min"),
        ("mean_squared_error", "min"),
        ("sparse_categorical_crossentropy", "min"),
        ("RMSE", "min"),
        ("default_objective", "min"),
        ("val_acc", "max"),
        ("BinaryAccuracy", "max"),
        ("val_auc", "max"),
        ("f1", None),
        ("loss_of_hair", None),
    ],
)
def test_names_tell_directions(name, direction):
    assert infer_direction(name) == direction


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "metric's name or a `keras_tuner.Objective`. Received: objective=3"),
        (("",), "metric's name or a"),
        (("loss", "down"), "must be 'min' or 'max'.*direction='down'"),
        ((None, "min"), "goes with the name of a metric"),
    ],
)
def test_what_is_no_objective_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_objective(*arguments)
