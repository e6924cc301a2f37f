"""Time, horizon and loss as the controller sees them, against NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import run_statistics


def scalar(value):
    return ops.convert_to_tensor(value, "float32")


def test_time_and_horizon():
    times = np.asarray(run_statistics.time_statistics(scalar(20.0)))
    expected = np.tanh(1.5 * np.log10(20.0 / run_statistics.TIMES))
    np.testing.assert_allclose(times, expected, atol=1e-6)
    horizon = run_statistics.horizon_statistics(scalar(51), scalar(200), scalar(1))
    expected = [1.0, -0.5, np.log10(0.753) + 0.5, np.log10(2.0 / 3.0)]
    np.testing.assert_allclose(horizon, expected, atol=1e-5)
    unknown = run_statistics.horizon_statistics(scalar(51), scalar(200), scalar(0))
    assert np.all(np.asarray(unknown) == 0.0)


def test_the_last_step_and_those_after_it_see_no_more_than_the_end():
    for count in (201.0, 5_000.0):
        assert float(run_statistics.part_done(scalar(count), scalar(200.0))) == 1.0


def test_losses_in_logarithms():
    state = run_statistics.first_loss_state()
    losses = [8.0, 4.0, 2.0, 2.5]
    fast = slow = square = None
    for loss in losses:
        found, state = run_statistics.loss_statistics(state, scalar(loss), scalar(1.0))
        log = np.log10(loss)
        first = fast is None
        fast = log if first else 0.9 * fast + 0.1 * log
        slow = log if first else 0.985 * slow + 0.015 * log
        square = 0.98 * (square or 0.0) + 0.02 * (log - fast) ** 2
    slope = slow - fast
    expected = [
        1.0,
        8.0 * slope,
        slope / (np.sqrt(square) + 0.01),
        fast - np.log10(8.0),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert float(state[0]) == 4.0


@pytest.mark.parametrize("loss", [-1.0, 0.0, np.nan, np.inf])
def test_a_loss_without_a_logarithm_counts_as_unknown(loss):
    state = run_statistics.first_loss_state()
    _, state = run_statistics.loss_statistics(state, scalar(2.0), scalar(1.0))
    found, after = run_statistics.loss_statistics(state, scalar(loss), scalar(1.0))
    assert np.all(np.asarray(found) == 0.0)
    np.testing.assert_array_equal(after, state)
