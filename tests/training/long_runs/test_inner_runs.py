"""Runs from window to window: staggered, begun anew, on the next problem."""

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.training import PES, Truncated
from keras_meta.training.long_runs.inner_runs import InnerRuns, curriculum_horizon
from keras_meta.training.long_runs.meta_objective import mean
from keras_meta.training.long_runs.rule_unroll import RuleUnroll
from keras_meta.training.long_runs.window import Window

from .problems import Bowls, LearnedRate, losses_by_hand

THETA = {"pair": tf.constant([0.1, 0.5])}
STREAM, START = tf.constant(6, "int64"), tf.constant(0, "int64")


def inner_runs(rule=None, num_tasks=4, horizon=(8, 8), truncation=2):
    unroll = RuleUnroll(Bowls(), LearnedRate(), False)
    return InnerRuns(unroll, rule or Truncated(), THETA, num_tasks, horizon, truncation)


def step(runs, greatest=10**6, lost=None):
    """Takes one window; returns places at its start and losses after each step."""
    if not hasattr(runs, "compiled"):  # Traced once, for all of its windows.
        runs.compiled = tf.function(window_of(runs), autograph=False)
    lost = tf.zeros(runs.num_tasks, "bool") if lost is None else tf.constant(lost)
    places, losses = runs.compiled(tf.constant(greatest, "int64"), lost)
    return places.numpy(), losses.numpy()


def window_of(runs):
    def take(greatest, lost):
        begun, data, carried, places = runs.begun(THETA, STREAM, START, greatest)
        seeds = tf.zeros((runs.num_tasks, 2), "int64")
        window = Window(
            runs.unroll, mean, THETA, data, begun, runs.truncation, carried, seeds
        )
        result = runs.meta_gradient.meta_gradient(window)
        for variable, value in runs.written(runs.after(result, places, lost)):
            variable.assign(value)
        return places, result.losses

    return take


def test_first_runs_end_early_and_the_next_take_the_whole_horizon():
    runs = inner_runs()
    ages, numbers = [], []
    for _ in range(8):
        (number, age, _), _ = step(runs)
        ages.append(age.tolist())
        numbers.append(number.tolist())
    assert ages[:5] == [
        [0, 0, 0, 0],
        [0, 2, 2, 2],
        [2, 0, 4, 4],
        [4, 2, 0, 6],
        [6, 4, 2, 0],
    ]
    assert ages[5] == [0, 6, 4, 2]
    assert numbers[0] == [0, 1, 2, 3]
    assert numbers[1] == [4, 1, 2, 3]
    assert numbers[4] == [4, 5, 6, 7]
    assert numbers[5] == [8, 5, 6, 7]


def test_a_run_goes_on_where_it_stood_and_begins_on_the_next_problem():
    runs = inner_runs(num_tasks=2, horizon=(4, 4))
    seen = [step(runs)[1] for _ in range(4)]
    curve = losses_by_hand((0.1, 0.5), 4)
    # Task 1 runs for two windows on problem 1 (losses are doubled); momentum, curves
    # and all, is carried along.
    second = np.concatenate([seen[0][:, 1], seen[1][:, 1]])
    steeper = losses_by_hand((0.2, 0.5), 4)[1:] * 2
    np.testing.assert_allclose(second, steeper, rtol=1e-4)
    np.testing.assert_allclose(seen[0][:, 0], curve[1:3], rtol=1e-5)
    # Then problem 3, four times as steep: as a rate of 0.4.
    third = np.concatenate([seen[2][:, 1], seen[3][:, 1]])
    np.testing.assert_allclose(third, losses_by_hand((0.4, 0.5), 4)[1:] * 4, rtol=1e-4)


def test_a_lost_run_begins_anew_at_the_next_window():
    runs = inner_runs()
    step(runs, lost=[False, False, False, True])
    (number, age, _), _ = step(runs)
    assert number[3] == 7
    assert age[3] == 0


def test_both_runs_of_an_antithetic_pair_begin_together():
    runs = inner_runs(PES(sigma=0.1), num_tasks=2, horizon=(4, 4))
    step(runs)
    summed = np.array(runs.carried[0])
    assert np.all(summed != 0)
    step(runs)
    # The first task began anew: one perturbation; the second has the sum of two.
    begun, _, carried, places = runs.begun(
        THETA, STREAM, START, tf.constant(100, "int64")
    )
    assert places.numpy()[1].tolist() == [2, 0]
    np.testing.assert_array_equal(carried[0][1], np.zeros(2))
    assert np.all(np.array(carried[0][0]) != 0)
    first, second = np.split(np.array(begun.parameters[0]), 2)
    assert not np.allclose(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(begun.seed[:2], begun.seed[2:])


def test_several_problems_share_no_task_and_begin_at_different_times():
    unroll = RuleUnroll(Bowls(), LearnedRate(), False)
    all_runs = [
        InnerRuns(unroll, Truncated(), THETA, 2, (8, 8), 2, place=(i, 2))
        for i in range(2)
    ]
    seeds, ages = [], []
    for _ in range(6):
        for runs in all_runs:
            (number, age, _), _ = step(runs)
            seeds.append((age, runs.seeds(STREAM, tf.constant(number))[:, 1].numpy()))
            ages.append(age.tolist())
    begun = [
        n for age, numbers in seeds for a, n in zip(age, numbers, strict=True) if a == 0
    ]
    assert len(set(begun)) == len(begun)
    # Horizons of the first runs: 2, 6 and 4, 8.
    assert ages[:6] == [[0, 0], [0, 0], [0, 2], [2, 2], [2, 4], [0, 4]]


def test_runs_of_a_later_fit_are_on_tasks_that_come_after():
    runs = inner_runs()
    _, _, _, places = runs.begun(
        THETA, STREAM, tf.constant(50, "int64"), tf.constant(100, "int64")
    )
    np.testing.assert_array_equal(places[0], [200, 201, 202, 203])


def test_horizons_are_drawn_in_the_logarithm_and_rounded_to_windows():
    runs = inner_runs(num_tasks=200, horizon=(10, 1000), truncation=10)
    ends = []
    for _ in range(2):
        # All begin anew.
        (_, _, end), _ = step(runs, lost=[True] * 200)
        ends.append(end)
    assert np.all(ends[1] % 10 == 0)
    assert ends[1].min() < 25
    assert ends[1].max() > 600
    assert 70 < np.median(ends[1]) < 140  # sqrt(10 * 1000) = 100


def test_no_run_is_longer_than_the_curriculum_allows():
    runs = inner_runs(horizon=(100, 100))
    step(runs, greatest=4, lost=[True] * 4)
    (_, _, end), _ = step(runs, greatest=4)
    np.testing.assert_array_equal(end, 4)


@pytest.mark.parametrize(
    ("step_", "expected"), [(0, 10), (50, 32), (100, 100), (10**6, 100)]
)
def test_the_curriculum_grows_by_equal_factors(step_, expected):
    # From 10 to 100 over 100 meta-steps: 10 * 10 ** 0.5 = 31.6 half-way.
    horizon = curriculum_horizon(tf.constant(step_, "int64"), 100, 10, 100)
    assert int(horizon) == expected


def test_no_curriculum():
    assert int(curriculum_horizon(tf.constant(0, "int64"), 0, 10, 100)) == 100
