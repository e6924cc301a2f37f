"""Expected numbers: the paper's LSTM equations, written out in NumPy float64."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from keras_meta.learners.full_context import FullContext

SIZE = 3


def lstm_step(weights, x, h, c):
    kernel, recurrent, bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def float64(weights):
    return [np.array(w).astype("float64") for w in weights]


@pytest.fixture
def layer():
    keras.utils.set_random_seed(0)
    layer = FullContext(SIZE, reads=2)
    layer.build()
    return layer


@pytest.fixture
def support():
    return np.random.default_rng(1).normal(size=(4, SIZE))


def test_support_adds_both_directions_of_an_lstm(layer, support):
    forward = float64(layer.over_support.forward_layer.weights)
    backward = float64(layer.over_support.backward_layer.weights)
    expected = support.copy()
    for weights, order in ((forward, range(4)), (backward, range(3, -1, -1))):
        h = c = np.zeros(SIZE)
        for index in order:
            h, c = lstm_step(weights, support[index], h, c)
            expected[index] += h
    received = layer.support(support.astype("float32"))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reads", [0, 2])
def test_a_query_reads_the_support_set_by_attention(layer, support, reads):
    layer.reads = reads
    query = np.random.default_rng(2).normal(size=(5, SIZE))
    weights = float64(layer.reader.weights)
    h, c = query, np.zeros_like(query)
    for _ in range(reads):
        read = softmax(h @ support.T, axis=1) @ support
        output, c = lstm_step(weights, np.concatenate([query, read], axis=1), h, c)
        h = output + query
    received = layer.query(query.astype("float32"), support.astype("float32"))
    np.testing.assert_allclose(received, h, rtol=1e-4, atol=1e-6)


def test_config_makes_the_layer_again(layer):
    again = FullContext.from_config(layer.get_config())
    assert (again.size, again.reads) == (SIZE, 2)
