import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_meta.tasks.sinusoid import Sinusoid
from keras_meta.testing.check_tasks import check_tasks


def draw(tasks, count):
    seeds = tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], 1)
    return tf.vectorized_map(tasks.sample, seeds, fallback_to_while_loop=False)


def test_conformance():
    modes = check_tasks(Sinusoid(shots=3, queries=4))
    assert "tf.vectorized_map" in modes and "XLA" in modes


def test_modes_agree_to_a_millionth_of_the_largest_amplitude():
    tasks = Sinusoid()
    eager = tasks.sample(3)
    compiled = tf.function(tasks.sample, jit_compile=True)(
        tf.constant([0, 3], tf.int64)
    )
    for a, b, c in zip(eager, compiled, draw(tasks, 4), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6)
        np.testing.assert_allclose(a, c[3], rtol=0, atol=5e-6)


def test_targets_are_the_formula_of_fixed_numbers():
    tasks = Sinusoid(5, 7, frequency=1.5, amplitude=2.0, phase=0.5)
    episode = tasks.sample(1)
    for x, y in (episode[:2], episode[2:]):
        assert x.dtype == y.dtype == tf.float32
        np.testing.assert_allclose(
            y, 2.0 * np.sin(1.5 * x.numpy() + 0.5), rtol=0, atol=2e-6
        )
    assert episode.support_x.shape == (5, 1)
    assert episode.query_y.shape == (7, 1)


def test_the_same_wave_runs_through_support_and_query():
    # Least squares on a grid of frequencies finds the wave from the support alone.
    episode = Sinusoid(shots=40, queries=40).sample(11)
    x, y = (np.array(field, np.float64) for field in episode[:2])
    best = min(
        (
            np.linalg.lstsq(np.hstack([np.sin(w * x), np.cos(w * x)]), y, rcond=None)
            + (w,)
            for w in np.linspace(0.8, 1.2, 401)
        ),
        key=lambda fit: fit[1].item(),
    )
    (a, b), w = best[0].ravel(), best[-1]
    assert 0.1 <= np.hypot(a, b) <= 5.0
    query_x = np.array(episode.query_x, np.float64)
    fitted = a * np.sin(w * query_x) + b * np.cos(w * query_x)
    np.testing.assert_allclose(episode.query_y, fitted, atol=0.02)


def test_inputs_are_uniform_and_differ_between_support_and_query():
    episodes = draw(Sinusoid(), 300)
    x = np.concatenate([episodes.support_x, episodes.query_x], axis=1)[..., 0]
    assert stats.kstest(x.ravel(), stats.uniform(-5.0, 10.0).cdf).pvalue > 0.01
    assert len(np.unique(x[0])) == 20


def test_the_amplitude_is_uniform():
    # At phase pi/2 and input 0 the target is the amplitude.
    tasks = Sinusoid(1, 1, phase=np.pi / 2, input_range=0.0)
    amplitude = draw(tasks, 2000).query_y.numpy().ravel()
    assert stats.kstest(amplitude, stats.uniform(0.1, 4.9).cdf).pvalue > 0.01


def test_maml_has_frequency_one():
    assert Sinusoid.maml(shots=5).describe()["arguments"] == {
        "shots": 5,
        "queries": 10,
        "frequency": [1.0, 1.0],
        "amplitude": [0.1, 5.0],
        "phase": [0.0, np.pi],
        "input_range": [-5.0, 5.0],
    }


def test_describe_is_json():
    facts = Sinusoid(shots=3).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["class_name"] == "Sinusoid"
    assert facts["episode"]["support_x"] == {"shape": [3, 1], "dtype": "float32"}


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"shots": 0}, "`shots` must be an integer >= 1. Received: shots=0."),
        ({"queries": 1.5}, "`queries` must be an integer >= 1. Received: queries=1.5."),
        ({"frequency": (2.0, 1.0)}, "`frequency` must be finite, with low <= high."),
        ({"amplitude": float("nan")}, "`amplitude` must be finite"),
        ({"phase": (0.0, np.inf)}, "`phase` must be finite"),
        ({"input_range": (1, 2, 3)}, r"`input_range` must be a number or a pair"),
        ({"phase": None}, r"`phase` must be a number or a pair .*Received: phase=None"),
    ],
)
def test_wrong_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        Sinusoid(**arguments)
