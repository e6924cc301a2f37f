"""The LSTM step, beside Keras' own cell."""

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.lstm_cell import initial_weights, lstm_step


def test_two_layers_are_two_of_keras_cells():
    random = np.random.default_rng(0)
    weights = initial_weights(random, 3, 5, 2)
    state = {
        name: random.normal(size=(4, 5)).astype("float32")
        for name in ("hidden_0", "cell_0", "hidden_1", "cell_1")
    }
    inputs = random.normal(size=(4, 3)).astype("float32")
    outputs, new = lstm_step(weights, ops.convert_to_tensor(inputs), state, 2)
    expected = inputs
    for layer in range(2):
        cell = keras.layers.LSTMCell(5)
        cell.build((None, expected.shape[-1]))
        names = ("kernel", "recurrent_kernel", "bias")
        cell.set_weights([weights[f"lstm_{layer}/{name}"] for name in names])
        expected, (hidden, memory) = cell(
            expected, [state[f"hidden_{layer}"], state[f"cell_{layer}"]]
        )
        np.testing.assert_allclose(new[f"hidden_{layer}"], hidden, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(new[f"cell_{layer}"], memory, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_initial_forget_gates_are_open_and_kernels_are_glorot():
    weights = initial_weights(np.random.default_rng(0), 2, 20, 1)
    bias = weights["lstm_0/bias"]
    np.testing.assert_array_equal(bias[20:40], np.ones(20))
    np.testing.assert_array_equal(np.delete(bias, np.s_[20:40]), np.zeros(60))
    limit = np.sqrt(6 / (2 + 80))
    kernel = weights["lstm_0/kernel"]
    assert 0.9 * limit < np.abs(kernel).max() <= limit
