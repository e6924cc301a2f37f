"""One step of a stack of LSTM layers, as a pure function of its weights."""

import numpy as np
from keras import ops

GATES = 4  # input, forget, candidate, output: the order of keras.layers.LSTM


def initial_weights(generator, num_inputs, hidden_size, num_layers):
    """Returns the weights that meta-learning starts from.

    Kernels are drawn as Glorot & Bengio 2010 (uniform), biases are zero but for the
    forget gates', which are one (Jozefowicz et al. 2015).

    Args:
        generator: `numpy.random.Generator`.
        num_inputs, hidden_size, num_layers: int >= 1.

    Returns:
        Dict: `"lstm_L/kernel"` float32 `(inputs, 4 hidden_size)`,
        `"lstm_L/recurrent_kernel"` `(hidden_size, 4 hidden_size)`, `"lstm_L/bias"`
        `(4 hidden_size,)`, for each layer L.
    """
    weights = {}
    for layer in range(num_layers):
        inputs = hidden_size if layer else num_inputs
        bias = np.zeros(GATES * hidden_size, "float32")
        bias[hidden_size : 2 * hidden_size] = 1.0
        weights |= {
            f"lstm_{layer}/kernel": glorot(generator, inputs, GATES * hidden_size),
            f"lstm_{layer}/recurrent_kernel": glorot(
                generator, hidden_size, GATES * hidden_size
            ),
            f"lstm_{layer}/bias": bias,
        }
    return weights


def glorot(generator, inputs, outputs):
    """Returns a float32 `(inputs, outputs)` kernel, Glorot uniform."""
    limit = np.sqrt(6.0 / (inputs + outputs))
    return generator.uniform(-limit, limit, (inputs, outputs)).astype("float32")


def lstm_step(weights, inputs, state, num_layers):
    """Takes one time step.

    Args:
        weights: dict, see `initial_weights`.
        inputs: float32 `(rows, num_inputs)`.
        state: dict of `"hidden_L"` and `"cell_L"`, float32 `(rows, hidden_size)`.
        num_layers: int.

    Returns:
        Tuple `(outputs, state)`: float32 `(rows, hidden_size)`, and the new state.
    """
    new = {}
    for layer in range(num_layers):
        gates = (
            ops.matmul(inputs, weights[f"lstm_{layer}/kernel"])
            + ops.matmul(
                state[f"hidden_{layer}"], weights[f"lstm_{layer}/recurrent_kernel"]
            )
            + weights[f"lstm_{layer}/bias"]
        )
        i, f, candidate, o = ops.split(gates, GATES, axis=-1)
        cell = ops.sigmoid(f) * state[f"cell_{layer}"]
        cell = cell + ops.sigmoid(i) * ops.tanh(candidate)
        inputs = ops.sigmoid(o) * ops.tanh(cell)
        new[f"hidden_{layer}"], new[f"cell_{layer}"] = inputs, cell
    return inputs, new
