"""MetaLSTM: its arithmetic in NumPy, the loss in `fit`, what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_meta
from keras_meta.optimizers import MetaLSTM

START = np.array([1.0, -2.0, 0.5, 3.0])
GRADIENTS = np.array(
    [[0.3, -1e-6, 20.0, 0.0], [-0.2, 0.4, 1e-8, 5.0], [1.0, 0.7, -0.1, -2.0]]
)
LOSSES = (2.0, 0.5, 1e-6)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def features(value):
    if abs(value) < np.exp(-10.0):
        return [-1.0, np.exp(10.0) * value]
    return [np.log(abs(value)) / 10, np.sign(value)]


def by_hand(optimizer, losses, learning_rate=1.0):
    """Returns the weights after three steps, one weight after another, in float64."""
    theta = {
        n: np.float64(v) for n, v in optimizer.theta_arrays(optimizer.seed).items()
    }
    size = optimizer.hidden_size
    weights = []
    for w, gradients in zip(START, GRADIENTS.T, strict=True):
        h, c = np.zeros(size), np.zeros(size)
        i, f = optimizer.initial_rate, 1.0 - optimizer.initial_decay
        for g, loss in zip(gradients, losses, strict=True):
            x = features(g)
            if optimizer.use_loss:
                x = [*x, *features(loss)]
            z = np.array(x) @ theta["lstm_0/kernel"] + theta["lstm_0/bias"]
            z = z + h @ theta["lstm_0/recurrent_kernel"]
            gates = np.split(z, 4)
            c = sigmoid(gates[1]) * c + sigmoid(gates[0]) * np.tanh(gates[2])
            h = sigmoid(gates[3]) * np.tanh(c)
            kernel, bias = theta["input_gate/kernel"][:, 0], theta["input_gate/bias"]
            i = sigmoid(np.r_[h, w, i] @ kernel + bias[0])
            kernel, bias = theta["forget_gate/kernel"][:, 0], theta["forget_gate/bias"]
            f = sigmoid(np.r_[h, w, f] @ kernel + bias[0])
            w = w + learning_rate * ((f - 1.0) * w - i * g)
        weights.append(w)
    return np.array(weights)


@pytest.mark.parametrize("chunk_size", [100, 3])
@pytest.mark.parametrize("use_loss", [True, False])
def test_weights_are_the_cell_state(use_loss, chunk_size):
    optimizer = MetaLSTM(
        hidden_size=4,
        initial_rate=0.2,
        initial_decay=0.1,
        use_loss=use_loss,
        chunk_size=chunk_size,
        seed=3,
    )
    theta = {n: tf.constant(v) for n, v in optimizer.theta_arrays(3).items()}
    parameters = [tf.constant(START.reshape(2, 2), "float32")]
    state = optimizer.initial_state(theta, parameters)
    for step, (g, loss) in enumerate(zip(GRADIENTS, LOSSES, strict=True)):
        parameters, state = optimizer.update(
            theta,
            state,
            [tf.constant(g.reshape(2, 2), "float32")],
            parameters,
            step,
            0.5,
            **({"loss": tf.constant(loss)} if use_loss else {}),
        )
    expected = by_hand(optimizer, LOSSES, 0.5)
    np.testing.assert_allclose(np.ravel(parameters[0]), expected, rtol=1e-5)


def run_in_keras(optimizer, tell):
    """Applies the gradients, with the loss told or not; returns the weights."""
    variable = keras.Variable(START.astype("float32"))
    for g, loss in zip(GRADIENTS, LOSSES, strict=True):
        if tell:
            optimizer.scale_loss(ops.convert_to_tensor(loss))
        optimizer.apply([ops.convert_to_tensor(g, dtype="float32")], [variable])
    return np.array(variable)


def test_a_loop_tells_the_loss_or_leaves_it_out():
    def make():
        return MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)

    told, untold = run_in_keras(make(), True), run_in_keras(make(), False)
    np.testing.assert_allclose(told, by_hand(make(), LOSSES), rtol=1e-5)
    # Zero, as features: (-1, 0).
    np.testing.assert_allclose(untold, by_hand(make(), (0.0, 0.0, 0.0)), rtol=1e-5)
    assert np.abs(told - untold).max() > 1e-5


@pytest.mark.parametrize("settings", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_fit_tells_the_loss(settings):
    # One weight, one example: the loss is w^2, its gradient 2 w.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[2.0]])
    optimizer = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
    model.compile(
        optimizer=optimizer, loss="mse", **({"jit_compile": False} | settings)
    )
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), epochs=3, verbose=0)
    other = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
    variable = keras.Variable([[2.0]])
    for _ in range(3):
        w = ops.convert_to_tensor(variable)
        other.scale_loss(ops.sum(w * w))
        other.apply([2.0 * w], [variable])
    np.testing.assert_allclose(model.layers[0].kernel, variable, rtol=1e-5)


def test_a_loss_of_a_trace_that_never_stepped_is_not_used():
    optimizer = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
    variable = keras.Variable(START.astype("float32"))
    optimizer.build([variable])

    @tf.function
    def forgotten(loss):
        return optimizer.scale_loss(loss)

    forgotten(tf.constant(5.0))
    optimizer.apply([ops.convert_to_tensor(GRADIENTS[0], dtype="float32")], [variable])
    other = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
    twin = keras.Variable(START.astype("float32"))
    other.apply([ops.convert_to_tensor(GRADIENTS[0], dtype="float32")], [twin])
    np.testing.assert_array_equal(variable, twin)


def test_a_loss_of_another_function_is_not_used():
    # Captured, it would stay what it was at the first call.
    def make():
        optimizer = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
        variable = keras.Variable(START.astype("float32"))
        optimizer.build([variable])
        return optimizer, variable

    gradient = ops.convert_to_tensor(GRADIENTS[0], dtype="float32")
    optimizer, variable = make()

    @tf.function
    def inner():
        optimizer.apply([gradient], [variable])

    @tf.function
    def outer(loss):
        optimizer.scale_loss(loss)
        inner()

    outer(tf.constant(5.0))
    other, twin = make()
    other.apply([gradient], [twin])
    np.testing.assert_allclose(variable, twin, rtol=1e-6)


def test_a_loop_in_the_graph_tells_each_steps_loss():
    optimizer = MetaLSTM(hidden_size=4, initial_rate=0.2, seed=3)
    variable = keras.Variable(START.astype("float32"))
    optimizer.build([variable])
    gradients = tf.constant(GRADIENTS, "float32")

    @tf.function
    def run():
        for step in tf.range(3):
            optimizer.scale_loss(tf.gather(tf.constant(LOSSES), step))
            if step >= 0:  # a branch of the loop
                optimizer.apply([gradients[step]], [variable])

    run()
    np.testing.assert_allclose(variable, by_hand(optimizer, LOSSES), rtol=1e-5)


def test_a_skipped_step_does_not_decay():
    optimizer = MetaLSTM(seed=0, weight_decay=0.1)
    variable = keras.Variable(START.astype("float32"))
    optimizer.apply([tf.fill((4,), np.float32(np.nan))], [variable])
    assert optimizer.skipped_steps == 1
    np.testing.assert_array_equal(variable, START.astype("float32"))


@pytest.mark.parametrize("bad", ["gradient", "loss"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(bad):
    optimizer = MetaLSTM(seed=0)
    variable = keras.Variable(START.astype("float32"))
    optimizer.build([variable])
    before = [np.array(v) for v in [variable, *optimizer._state_variables]]
    optimizer.scale_loss(tf.constant(np.nan if bad == "loss" else 1.0, "float32"))
    gradient = np.array([1.0, np.inf if bad == "gradient" else 1.0, 1.0, 1.0])
    optimizer.apply([tf.constant(gradient, "float32")], [variable])
    assert optimizer.skipped_steps == 1
    after = [np.array(v) for v in [variable, *optimizer._state_variables]]
    changed = [a.shape for b, a in zip(before, after, strict=True) if (a != b).any()]
    assert changed == [()]
    optimizer.apply([tf.constant(GRADIENTS[0], "float32")], [variable])
    assert optimizer.skipped_steps == 1
    assert (np.array(variable) != before[0]).any()


def test_few_shot_training_sees_the_loss_and_learns():
    tasks = keras_meta.tasks.Sinusoid(shots=5, queries=5)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(20, "tanh"), keras.layers.Dense(1)]
    )
    trainer = keras_meta.MetaTrainer(
        model,
        MetaLSTM(hidden_size=5, initial_rate=0.05, seed=0),
        inner_steps=3,
        meta_gradient="first_order",
        seed=1,
    )
    trainer.compile(keras.optimizers.Adam(3e-3), loss="mse")
    theta = trainer.theta_values()
    history = trainer.fit(
        tasks, meta_batch_size=8, steps_per_epoch=40, epochs=5, verbose=0
    )
    losses = history.history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    moved = {
        name: np.abs(value - theta[name]).max()
        for name, value in trainer.theta_values().items()
    }
    assert min(moved.values()) > 1e-4
    # The rows of the kernel that the loss enters by are learned, too.
    rows = trainer.theta_values()["lstm_0/kernel"] - theta["lstm_0/kernel"]
    assert np.abs(rows[2:]).max() > 1e-4


def test_a_preset_of_another_kind_of_input():
    theta = MetaLSTM(use_loss=False).theta_arrays(0)
    with pytest.raises(
        ValueError, match=r"lstm_0/kernel \(2, 80\), expected \(4, 80\)"
    ):
        MetaLSTM().set_theta(theta)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("hidden_size", 0),
        ("initial_rate", 0.0),
        ("initial_rate", 1.0),
        ("initial_decay", -0.1),
        ("log_scale", 0.0),
        ("chunk_size", 0),
    ],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(
        ValueError, match=f"Argument `{argument}`.*Received: {argument}"
    ):
        MetaLSTM(**{argument: value})


def test_by_name():
    assert isinstance(keras.optimizers.get("meta_lstm"), MetaLSTM)
