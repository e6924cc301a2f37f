"""LSTMOptimizer: its arithmetic in NumPy, its chunks, and what it refuses."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import LSTMOptimizer
from keras_meta.presets import Preset

START = (np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.1, -0.2, 0.3]))
GRADIENTS = (
    (np.array([[0.3, -1e-6], [20.0, 0.0]]), np.array([-0.5, 2.0, 1e-3])),
    (np.array([[-0.2, 0.4], [1e-8, 5.0]]), np.array([0.5, -3.0, 0.0])),
    (np.array([[1.0, 0.7], [-0.1, -2.0]]), np.array([0.02, 1.0, 7.0])),
)


def tensors(arrays):
    return [ops.convert_to_tensor(a, dtype="float32") for a in arrays]


def run(optimizer, gradients=GRADIENTS, learning_rate=1.0):
    """Returns parameters and state after the pure update's steps."""
    theta = {
        name: ops.convert_to_tensor(value)
        for name, value in optimizer.initial_theta({}, optimizer.seed).items()
    }
    parameters = tensors(START)
    state = optimizer.initial_state(theta, parameters)
    for step, g in enumerate(gradients):
        parameters, state = optimizer.update(
            theta, state, tensors(g), parameters, step, learning_rate
        )
    return [np.asarray(p) for p in parameters], state


# ---- the arithmetic, one coordinate after another, in float64 -----------------------


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


class NumpyLSTM:
    """What the optimizer should do with one coordinate, from the papers' formulas."""

    def __init__(self, theta, inputs, num_layers, hidden_size):
        self.theta = {name: np.float64(value) for name, value in theta.items()}
        self.inputs = inputs
        self.h = np.zeros((num_layers, hidden_size))
        self.c = np.zeros((num_layers, hidden_size))
        self.m = self.v = 0.0

    def step(self, g, number):
        theta = self.theta
        if self.inputs == "log_sign":
            small = abs(g) < np.exp(-10.0)
            x = [-1.0, np.exp(10.0) * g] if small else [np.log(abs(g)) / 10, np.sign(g)]
            x = np.array(x)
        else:
            self.m = 0.95 * self.m + 0.05 * g
            self.v = 0.95 * self.v + 0.05 * g * g
            correction = 1.0 - 0.95 ** (number + 1)
            size = np.sqrt(self.v / correction) + 1e-8
            x = np.array([self.m / correction, g]) / size
            x = x @ theta["input/kernel"] + theta["input/bias"]
            x = np.where(x > 0, x, np.exp(x) - 1.0)
        for layer in range(len(self.h)):
            z = x @ theta[f"lstm_{layer}/kernel"] + theta[f"lstm_{layer}/bias"]
            z = z + self.h[layer] @ theta[f"lstm_{layer}/recurrent_kernel"]
            i, f, new, o = np.split(z, 4)
            self.c[layer] = sigmoid(f) * self.c[layer] + sigmoid(i) * np.tanh(new)
            x = self.h[layer] = sigmoid(o) * np.tanh(self.c[layer])
        out = (x @ theta["output/kernel"] + theta["output/bias"])[0]
        return 0.1 * (np.tanh(out) if self.inputs == "normalized" else out)


@pytest.mark.parametrize("chunk_size", [100, 3])
@pytest.mark.parametrize("inputs", ["log_sign", "normalized"])
def test_each_coordinate_has_an_lstm_of_its_own_state(inputs, chunk_size):
    optimizer = LSTMOptimizer(
        inputs=inputs, hidden_size=4, num_layers=2, chunk_size=chunk_size, seed=3
    )
    received, _ = run(optimizer, learning_rate=2.0)
    theta = optimizer.initial_theta({}, 3)
    flat = np.concatenate([np.ravel(p) for p in START])
    for coordinate in range(flat.size):
        lstm = NumpyLSTM(theta, inputs, 2, 4)
        for number, gradients in enumerate(GRADIENTS):
            g = np.concatenate([np.ravel(part) for part in gradients])[coordinate]
            flat[coordinate] += 2.0 * lstm.step(g, number)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(p) for p in received]), flat, rtol=1e-5, atol=1e-6
    )


def test_log_scale_and_output_scale_enter_the_step():
    gradients = [(np.full((2, 2), np.exp(-2.0)), np.zeros(3))]
    [first, _], _ = run(LSTMOptimizer(seed=0), gradients)
    [twice, _], _ = run(LSTMOptimizer(seed=0, output_scale=0.2), gradients)
    np.testing.assert_allclose(twice - START[0], 2 * (first - START[0]), atol=1e-6)
    # exp(-2) at p = 5 looks as exp(-4) does at p = 10: logarithm -0.4, sign 1.
    [other, _], _ = run(LSTMOptimizer(seed=0, log_scale=5.0), gradients)
    fourth = [(np.full((2, 2), np.exp(-4.0)), np.zeros(3))]
    [same, _], _ = run(LSTMOptimizer(seed=0), fourth)
    np.testing.assert_allclose(other, same, rtol=1e-6)
    assert np.abs(other - first).max() > 1e-4


def test_theta_does_not_depend_on_the_model():
    optimizer = LSTMOptimizer(seed=5)
    first = optimizer.initial_theta({"a": (3, 4)}, 5)
    second = optimizer.initial_theta([(7,), (2, 2)], 5)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert sum(value.size for value in first.values()) == (
        (2 + 20 + 1) * 80 + (20 + 20 + 1) * 80 + 21
    )


# ---- in Keras ----------------------------------------------------------------------


def model_of(*units, inputs=3):
    layers = [keras.layers.Dense(n, activation="tanh") for n in units]
    return keras.Sequential([keras.Input((inputs,)), *layers])


def data(rows=8):
    random = np.random.default_rng(0)
    return random.normal(size=(rows, 3)), random.normal(size=(rows, 2))


@pytest.mark.parametrize("inputs", ["log_sign", "normalized"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(inputs):
    x, y = data()
    optimizer = LSTMOptimizer(inputs=inputs, seed=0)
    model = model_of(4, 2)
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    model.fit(x, y, batch_size=4, verbose=0)
    assert optimizer.skipped_steps == 0
    before = [np.array(v) for v in [*model.weights, *optimizer._state_variables]]
    model.fit(np.full_like(x, np.inf), y, batch_size=4, verbose=0)
    assert optimizer.skipped_steps == 2
    after = [np.array(v) for v in [*model.weights, *optimizer._state_variables]]
    changed = [
        b.shape for b, a in zip(before, after, strict=True) if not np.array_equal(a, b)
    ]
    assert changed == [()]  # the counter
    model.fit(x, y, batch_size=4, verbose=0)
    assert all(np.isfinite(v).all() for v in model.get_weights())
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_one_theta_steps_models_of_any_size():
    x, y = data()
    trained = LSTMOptimizer(seed=1)
    trained.build(model_of(2).trainable_variables)
    other = model_of(30, 5, 2)
    optimizer = trained.adapt_to(other)
    other.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    before = other.get_weights()
    other.fit(x, y, batch_size=4, verbose=0)
    for name, value in trained.theta_values().items():
        np.testing.assert_array_equal(optimizer.theta_values()[name], value)
    assert all(
        not np.array_equal(a, b)
        for a, b in zip(before, other.get_weights(), strict=True)
    )


def test_rows_of_an_embedding_that_a_batch_does_not_touch_stay():
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            keras.layers.Embedding(6, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    optimizer = LSTMOptimizer(seed=0)
    model.compile(optimizer=optimizer, loss="mse")
    table = model.layers[0].embeddings
    before = np.array(table)
    model.fit(np.array([[1, 4]]), np.array([1.0]), epochs=3, verbose=0)
    moved = np.abs(np.array(table) - before).max(axis=1) > 0
    np.testing.assert_array_equal(moved, [False, True, False, False, True, False])
    hidden = np.array(
        dict(zip(optimizer._state_keys, optimizer._state_variables, strict=True))[
            ("hidden_0", None)
        ]
    )
    assert not hidden[:3].any()  # row 0 of the embedding
    assert hidden[3:6].any()


def test_a_model_without_trainable_variables_is_left_to_keras():
    model = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()])
    model.compile(LSTMOptimizer(seed=0), loss="mse", jit_compile=False)
    x, _ = data()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        history = model.fit(x, x, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_by_name():
    assert isinstance(keras.optimizers.get("lstm_optimizer"), LSTMOptimizer)


# ---- what it refuses ---------------------------------------------------------------


def test_a_preset_of_another_size_says_which(tmp_path):
    path = tmp_path / "small.kmeta"
    small = LSTMOptimizer(hidden_size=4, seed=0)
    small.build(model_of(2).trainable_variables)
    card = {
        "title": "small",
        "optimizer": keras.saving.serialize_keras_object(small),
    }
    Preset(card, small.theta_values()).save(path)
    loaded = LSTMOptimizer.from_preset(path)
    assert loaded.hidden_size == 4
    with pytest.raises(ValueError, match="another size") as caught:
        LSTMOptimizer.from_preset(path, hidden_size=20)
    assert "lstm_0/bias (16,), expected (80,)" in str(caught.value)
    with pytest.raises(ValueError, match="other inputs"):
        LSTMOptimizer.from_preset(path, inputs="normalized")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("inputs", "raw"),
        ("hidden_size", 0),
        ("hidden_size", 2.0),
        ("num_layers", True),
        ("chunk_size", -1),
        ("output_scale", 0.0),
        ("output_scale", float("inf")),
        ("log_scale", "10"),
        ("decay", 1.0),
        ("decay", -0.5),
    ],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(
        ValueError, match=f"Argument `{argument}`.*Received: {argument}"
    ):
        LSTMOptimizer(**{argument: value})


def test_weight_decay_is_scaled_by_the_size_of_a_step():
    make = functools.partial(LSTMOptimizer, seed=0, learning_rate=0.5)
    moved = []
    for optimizer in (make(), make(weight_decay=0.2)):
        variable = keras.Variable([4.0])
        optimizer.apply([[0.3]], [variable])
        moved.append(float(variable.numpy()[0]))
    # 4 * 0.2 * 0.5 * 0.1
    assert moved[0] - moved[1] == pytest.approx(0.04, rel=1e-4)
