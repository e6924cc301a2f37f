"""When a step is skipped, and when a learned rule is distrusted."""

import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import step_guard


def scalar(value):
    return ops.convert_to_tensor(value, "float32")


def part(guard, name):
    return float(guard[step_guard.NAMES.index(name)])


def after(norms, guard=None):
    """Returns the state after gradients of these norms, and which were usual."""
    guard = step_guard.initial_guard() if guard is None else guard
    usual = []
    for norm in norms:
        fine, guard = step_guard.usual_gradient(guard, scalar(norm) ** 2, scalar(1.0))
        usual.append(bool(fine))
    return guard, usual


def test_a_spike_is_skipped_once_there_is_something_to_compare_it_with():
    assert after([1e-3, 1.0, 1e3])[1] == [True] * 3
    assert after([1.0, 1e6, 1.0])[1] == [True, False, True]
    assert after([1.0] * 3 + [1e6, 1.0])[1] == [True] * 3 + [False, True]
    guard, usual = after([1.0] * 30 + [99.0, 1e6, 1.0])
    assert usual == [True] * 31 + [False, True]
    assert part(guard, "skipped_steps") == 1.0


def test_gradients_that_stay_large_are_let_through_in_the_end():
    _, usual = after([1.0] * 30 + [1e6] * 20)
    assert usual[30:] == sorted(usual[30:]) and not usual[30] and usual[-1]


def test_gradients_of_zero_are_no_measure_of_others():
    assert all(after([0.0] * 5 + [1.0] * 10)[1])
    assert all(after([1.0] * 30 + [0.0] * 400 + [1.0, 0.0, 1.0])[1])


@pytest.mark.parametrize(
    ("norm", "loss"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan)]
)
def test_what_is_not_finite_is_skipped_from_the_first_step(norm, loss):
    guard = step_guard.initial_guard()
    usual, guard = step_guard.usual_gradient(guard, scalar(norm), scalar(loss))
    assert not bool(usual)
    assert np.isfinite(np.asarray(guard)).all()


def rises(losses):
    guard, found = step_guard.initial_guard(), []
    for loss in losses:
        rising, guard = step_guard.rising_loss(
            guard, scalar(loss), ops.ones((), "bool")
        )
        found.append(bool(rising))
    return found, guard


def test_only_a_rise_beyond_the_usual_spread_counts():
    random = np.random.default_rng(0)
    noise = random.normal(size=400)
    falling = 2.0 * np.exp(-np.arange(400) / 150.0) + 0.2 * noise
    assert not any(rises(falling)[0])
    jump = np.concatenate([falling[:300], 3.0 + 0.2 * noise[:100]])
    found, guard = rises(jump)
    assert not any(found[:300]) and any(found[300:320])
    assert part(guard, "loss_rises") == sum(found)


def test_trust_is_halved_by_trouble_and_returns_slowly():
    guard = step_guard.initial_guard()
    trust = []
    for rising, bounded in [(False, False), (True, False), (False, True)]:
        value, guard = step_guard.trust_after(guard, rising, bounded)
        trust.append(float(value))
    assert trust == [1.0, 0.5, 0.25]
    for _ in range(200):
        value, guard = step_guard.trust_after(guard, False, False)
    assert float(value) == pytest.approx(1.0 - 0.75 * 0.995**200, rel=1e-4)
    assert part(guard, "bounded_steps") == 1.0
