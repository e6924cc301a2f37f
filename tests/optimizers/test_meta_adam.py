"""`MetaAdam`'s rule: Adam, a controller of its rates, and the guard."""

import json
import math
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta import presets
from keras_meta.optimizers import MetaAdam, rate_controller
from keras_meta.presets import Preset

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mixed_model():
    """Returns a model with an embedding, a convolution, a recurrent layer, a norm."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(200, 8),
            layers.Conv1D(6, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GRU(5),
            layers.Dense(3),
        ]
    )


def sequences():
    """Returns batches in which no symbol comes twice.

    Of a row that comes twice, Keras' Adam squares each part of the sparse gradient on
    its own, not their sum, and so is not Adam.
    """
    random = np.random.default_rng(0)
    batches = [random.permutation(200)[:192].reshape(16, 12) for _ in range(4)]
    return np.concatenate(batches), random.integers(0, 3, size=64)


def small_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((12,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(3)]
    )


def trained(optimizer, epochs=5, make_model=small_model, jit_compile=False):
    x, y = sequences()
    model = make_model()
    model.compile(optimizer, LOSS, jit_compile=jit_compile)
    history = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False)
    return model, history.history["loss"]


@pytest.fixture(scope="module")
def weights_of_adam():
    plain, _ = trained(keras.optimizers.Adam(1e-3), make_model=mixed_model)
    return plain.get_weights()


@pytest.mark.parametrize(
    ("settings", "jit"), [({}, False), ({"total_steps": 20, "safeguard": False}, True)]
)
def test_a_zero_controller_is_adam(settings, jit, weights_of_adam):
    optimizer = MetaAdam(weights=None, **settings)
    learned, _ = trained(optimizer, make_model=mixed_model, jit_compile=jit)
    for a, b in zip(learned.get_weights(), weights_of_adam, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_a_recurrent_net_trains_where_shapes_are_not_known():
    """TensorFlow does not know those of the gradients of a compiled GRU."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, 4),
            layers.GRU(5, return_sequences=True),
            layers.Dense(20),
        ]
    )
    model.compile(MetaAdam(), LOSS, jit_compile=True, steps_per_execution=2)
    text = np.random.default_rng(0).integers(20, size=(64, 12))
    data = tf.data.Dataset.from_tensor_slices((text, text)).batch(16)
    settings = {"epochs": 2, "steps_per_epoch": 4, "verbose": 0, "shuffle": False}
    losses = model.fit(data.repeat(), **settings)
    assert losses.history["loss"][1] < losses.history["loss"][0]


def test_factor_and_decay_by_hand(theta_with, controlled):
    theta = theta_with(one=1.5, decay=0.5)
    optimizer = controlled(theta, total_steps=4, learning_rate=0.5)
    w = keras.Variable([1.0, -2.0])
    gradients = np.array([[0.3, -0.1], [0.2, 0.4], [-0.5, 0.1]])
    expected = np.array([1.0, -2.0])
    m = v = 0.0
    for step, gradient in enumerate(gradients):
        optimizer.apply([gradient.astype("float32")], [w])
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        direction = m / (1 - 0.9 ** (step + 1))
        direction = direction / np.sqrt(v / (1 - 0.999 ** (step + 1)))
        factor = math.exp(
            math.log(rate_controller.LARGEST_FACTOR)
            * math.tanh(1.5 / math.log(rate_controller.LARGEST_FACTOR))
        )
        rate = 0.5 * 1e-3 * factor * (1.0 - step / 4) ** 0.5
        expected = expected - rate * direction
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(optimizer.rates, [rate / 0.5], rtol=1e-5)


def test_each_tensor_has_a_rate_of_its_own(theta_with, controlled):
    optimizer = controlled(theta_with(vector=1.0, matrix=-1.0, filter=0.5))
    model, _ = trained(optimizer, epochs=1, make_model=mixed_model)
    kinds = [len(v.shape) for v in model.trainable_variables]
    bound = math.log(rate_controller.LARGEST_FACTOR)
    factors = {1: 1.0, 2: -1.0, 3: 0.5}
    expected = [
        1e-3 * math.exp(bound * math.tanh(factors[kind] / bound)) for kind in kinds
    ]
    np.testing.assert_allclose(optimizer.rates, expected, rtol=1e-5)


def test_the_rates_stay_within_ten_times_adams(controlled):
    for sign in (1.0, -1.0):
        theta = rate_controller.zero_theta(16)
        theta["rate"] += 100.0 * sign
        optimizer = controlled(theta, safeguard=False)
        trained(optimizer, epochs=1)
        rates = np.array(optimizer.rates)
        assert np.all(rates <= 1e-3 * 10.01) and np.all(rates >= 1e-3 / 10.01)


def test_the_loss_and_the_horizon_are_used_where_they_are_known(theta_with, controlled):
    theta = theta_with(loss_known=1.0, horizon_known=0.5)
    bound = math.log(rate_controller.LARGEST_FACTOR)
    for settings, expected in [({}, 1.0), ({"total_steps": 10}, 1.5)]:
        optimizer = controlled(theta, **settings)
        trained(optimizer, epochs=1)
        factor = math.exp(bound * math.tanh(expected / bound))
        np.testing.assert_allclose(optimizer.rates, 1e-3 * factor, rtol=1e-5)
    optimizer = controlled(theta)
    optimizer.apply([np.ones(2, "float32")], [keras.Variable([1.0, 2.0])])
    np.testing.assert_allclose(optimizer.rates, 1e-3, rtol=1e-5)


def test_the_scale_of_the_loss_does_not_matter(controlled):
    random = np.random.default_rng(0)
    theta = {
        name: 0.1 * random.normal(size=array.shape).astype("float32")
        for name, array in rate_controller.zero_theta(16).items()
    }
    runs = []
    for scale in (1.0, 100.0):
        w = keras.Variable(np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(4, 3))
        optimizer, random = controlled(theta), np.random.default_rng(1)
        for _ in range(5):
            gradient = scale * random.normal(size=(4, 3)).astype("float32")
            optimizer.scale_loss(keras.ops.convert_to_tensor(scale * 3.0))
            optimizer.apply([gradient], [w])
        runs.append(w.numpy())
    np.testing.assert_allclose(*runs, rtol=1e-4)


@pytest.mark.parametrize("total_steps", [0, -3, 2.5, "many", True])
def test_a_wrong_horizon_is_refused(total_steps):
    with pytest.raises(ValueError, match=r"`total_steps` must be an int >= 1"):
        MetaAdam(total_steps=total_steps)


def test_a_run_beyond_its_horizon_goes_on_and_says_so_once(theta_with, controlled):
    optimizer = controlled(theta_with(decay=1.0), total_steps=6)
    with pytest.warns(UserWarning, match=r"total_steps=6, .*beyond") as told:
        model, losses = trained(optimizer, epochs=3)
    assert len([w for w in told if "total_steps" in str(w.message)]) == 1
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(optimizer.rates, 1e-3 / 7.0, rtol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(*sequences(), batch_size=16, verbose=0)


def test_the_horizon_counts_batches_also_where_gradients_are_accumulated(
    theta_with, controlled
):
    rates = []
    for settings in ({}, {"gradient_accumulation_steps": 3}):
        repeats = settings.get("gradient_accumulation_steps", 1)
        theta = theta_with(decay=1.0)
        optimizer = controlled(theta, total_steps=4 * repeats, **settings)
        w = keras.Variable([1.0, -2.0])
        for _ in range(4 * repeats):
            optimizer.apply([np.array([0.3, -0.1], "float32")], [w])
        rates.append(optimizer.rates)
    np.testing.assert_allclose(*rates, rtol=1e-6)
    assert rates[0].max() < 0.5e-3


def test_a_rate_that_was_meant_for_adam_is_told():
    with pytest.warns(UserWarning, match="Adam's 0.001 in it.*learning_rate=0.001"):
        MetaAdam(0.001)


def test_an_eager_loop_is_told_at_once():
    optimizer, w = MetaAdam(weights=None, total_steps=2), keras.Variable([1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(2):
            optimizer.apply([[1.0]], [w])
    with pytest.warns(UserWarning, match=r"step 3"):
        optimizer.apply([[1.0]], [w])


def test_variables_that_cannot_be_trained_are_named():
    with pytest.raises(ValueError, match="needs trainable variables"):
        MetaAdam(weights=None).build([])
    counter = keras.Variable([1, 2], dtype="int32", name="counter")
    with pytest.raises(ValueError, match=r"'counter' of dtype int32"):
        MetaAdam(weights=None).build([counter])
    empty = keras.Variable(np.zeros((3, 0)), name="empty")
    with pytest.raises(ValueError, match=r"without entries.* 'empty' of shape \(3, 0"):
        MetaAdam(weights=None).build([empty])


def test_a_preset_of_another_controller_is_refused(tmp_path):
    path = tmp_path / "other.kmeta"
    theta = rate_controller.zero_theta(16)
    theta["rate"] = theta["rate"][:-3]
    card = {"optimizer": keras.saving.serialize_keras_object(MetaAdam(weights=None))}
    Preset(card, theta).save(path)
    with pytest.raises(ValueError, match="belong to another controller"):
        MetaAdam.from_preset(path)
    with pytest.raises(ValueError, match="holds a `MetaAdam`, not a `LSTMOptimizer`"):
        theta = rate_controller.zero_theta(16)
        Preset(card, theta).save(path)
        keras_meta.LSTMOptimizer.from_preset(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"safeguard": 1},
        {"mixing": "no"},
        {"weights": "best"},
        {"weights": np.zeros(3)},
        {"hidden_units": -1},
        {"hidden_units": None},
    ],
)
def test_wrong_arguments_are_refused(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
        MetaAdam(**settings)


def test_the_weights_that_ship_are_of_this_controller_and_say_how_they_were_made():
    card = keras_meta.load("meta_adam_default").card
    folder = pathlib.Path(presets.__file__).parent / "data"
    config = json.loads((folder / "meta_adam_default.json").read_text())
    assert card["trained_on"]["config"] == config
    optimizer = MetaAdam()
    assert (config["units"], config["mixing"]) == (
        optimizer.hidden_units,
        optimizer.mixing,
    )
    assert len(card["evaluation"]["validation_tasks"]) >= 12


def test_the_state_is_two_slots_a_weight_and_a_small_sample():
    model = keras.Sequential([keras.Input((500,)), keras.layers.Dense(1000)])
    optimizer = MetaAdam(weights=None)
    optimizer.build(model.trainable_variables)
    entries = sum(math.prod(v.shape) for v in optimizer.variables)
    assert entries < 2.1 * model.count_params()


def test_weight_decay_is_decoupled_and_scaled_by_the_rate(theta_with, controlled):
    optimizer = controlled(theta_with(one=1.0), weight_decay=0.1)
    w = keras.Variable([1.0, -2.0])
    for _ in range(3):
        before = w.numpy()
        rate = 1e-3 if optimizer.rates is None else float(optimizer.rates[0])
        optimizer.apply([[0.0, 0.0]], [w])
        np.testing.assert_allclose(w.numpy(), before * (1 - 0.1 * rate), rtol=1e-6)


def test_frozen_weights_and_their_slots_stay(theta_with, controlled, state_of):
    model = mixed_model()
    optimizer = controlled(theta_with(turn=0.5))
    optimizer.build(model.trainable_variables)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()[0]
    model.compile(optimizer, LOSS, jit_compile=False)
    model.fit(*sequences(), batch_size=16, epochs=2, verbose=0)
    assert np.array_equal(model.layers[0].get_weights()[0], frozen)
    for name in ("start", "path"):
        state = state_of(optimizer, name)
        assert np.all(state[0] == 0.0) and np.any(state[1] != 0.0)
    assert state_of(optimizer, "turns")[0, 0] == 0.0


def test_mixing_adds_the_gradient_by_hand():
    theta = rate_controller.zero_theta(16, mixing=True)
    theta["mixing"][rate_controller.NAMES.index("one")] = 0.5
    optimizer = MetaAdam(weights=None, seed=0, mixing=True)
    optimizer.set_theta(theta)
    w, share = keras.Variable([1.0, -2.0]), 0.5 * math.tanh(0.5)
    expected, m, v = np.array([1.0, -2.0]), 0.0, 0.0
    for step, gradient in enumerate(np.array([[0.3, -0.1], [0.2, 0.4]])):
        optimizer.apply([gradient.astype("float32")], [w])
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        mean = (1 - share) * m / (1 - 0.9 ** (step + 1)) + share * gradient
        expected = expected - 1e-3 * mean / np.sqrt(v / (1 - 0.999 ** (step + 1)))
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5)


def test_a_hidden_layer_is_added_to_the_linear_map():
    random = np.random.default_rng(0)
    theta = rate_controller.zero_theta(4)
    theta["hidden/bias"] += random.normal(size=4).astype("float32")
    theta["hidden/kernel"] *= 0.0
    theta["hidden/rate"] += 1.0
    optimizer = MetaAdam(weights=None, seed=0, hidden_units=4)
    optimizer.set_theta(theta)
    optimizer.apply([[1.0]], [keras.Variable([1.0])])
    bound = math.log(rate_controller.LARGEST_FACTOR)
    factor = math.exp(bound * math.tanh(np.tanh(theta["hidden/bias"]).sum() / bound))
    np.testing.assert_allclose(optimizer.rates, [1e-3 * factor], rtol=1e-5)
