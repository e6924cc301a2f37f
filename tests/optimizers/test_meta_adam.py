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


def theta_with(**values):
    """Returns a controller that is zero but for some statistics' weights."""
    theta = rate_controller.zero_theta(16)
    for name, value in values.items():
        if name == "decay":
            theta["decay"] += value
        else:
            name = name.replace("_", " ")
            theta["rate"][rate_controller.NAMES.index(name)] = value
    return theta


def controlled(theta, **kwargs):
    optimizer = MetaAdam(weights=None, seed=0, **kwargs)
    optimizer.set_theta(theta)
    return optimizer


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


def state_of(optimizer, name):
    states = zip(optimizer._state_keys, optimizer._state_variables, strict=True)
    return np.array(dict(states)[name, None])


def trained(optimizer, epochs=5, make_model=small_model, **compiled):
    x, y = sequences()
    model = make_model()
    model.compile(optimizer, LOSS, **compiled)
    history = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False)
    return model, history.history["loss"]


@pytest.mark.parametrize(
    ("settings", "jit"), [({}, False), ({"total_steps": 20, "safeguard": False}, True)]
)
def test_a_zero_controller_is_adam(settings, jit):
    compiled = {"make_model": mixed_model, "jit_compile": jit}
    learned, _ = trained(MetaAdam(weights=None, **settings), **compiled)
    plain, _ = trained(keras.optimizers.Adam(1e-3), **compiled)
    for a, b in zip(learned.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_a_zero_controller_is_adam_also_where_gradients_are_rare():
    optimizers = MetaAdam(weights=None), keras.optimizers.Adam(1e-3)
    weights = [[keras.Variable([1.0]), keras.Variable([1.0])] for _ in optimizers]
    for optimizer, variables in zip(optimizers, weights, strict=True):
        optimizer.build(variables)

    @tf.function
    def step(rare):
        for optimizer, variables in zip(optimizers, weights, strict=True):
            optimizer.apply([tf.constant([0.1]), rare], variables)

    for number in range(450):
        step(tf.constant([float(number % 200 == 199)]))
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("floatx", ["float64", "bfloat16", "float16"])
def test_other_default_floats(floatx):
    usual = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        w = keras.Variable([1.0, -2.0])
        optimizer = MetaAdam()
        for gradient in ([0.5, 0.1], [float("nan"), 0.1], [0.5, 0.1]):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [w])
    finally:
        keras.config.set_floatx(usual)
    assert optimizer.safeguard_counters["skipped_steps"] == 1
    assert np.all(np.array(w, "float32") < [1.0, -2.0])


def test_distances_are_from_the_weights_before_the_first_step_that_was_taken():
    w = keras.Variable([3.0, 4.0])
    optimizer = MetaAdam()
    for gradient in ([float("nan"), 0.1], [0.2, 0.1], [0.2, 0.1]):
        optimizer.apply([gradient], [w])
    assert state_of(optimizer, "start").tolist() == [[3.0, 4.0]]


def test_factor_and_decay_by_hand():
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


def test_each_tensor_has_a_rate_of_its_own():
    optimizer = controlled(theta_with(vector=1.0, matrix=-1.0, filter=0.5))
    model, _ = trained(optimizer, epochs=1, make_model=mixed_model)
    kinds = [len(v.shape) for v in model.trainable_variables]
    bound = math.log(rate_controller.LARGEST_FACTOR)
    factors = {1: 1.0, 2: -1.0, 3: 0.5}
    expected = [
        1e-3 * math.exp(bound * math.tanh(factors[kind] / bound)) for kind in kinds
    ]
    np.testing.assert_allclose(optimizer.rates, expected, rtol=1e-5)


def test_the_rates_stay_within_ten_times_adams():
    for sign in (1.0, -1.0):
        theta = rate_controller.zero_theta(16)
        theta["rate"] += 100.0 * sign
        optimizer = controlled(theta, safeguard=False)
        trained(optimizer, epochs=1)
        rates = np.array(optimizer.rates)
        assert np.all(rates <= 1e-3 * 10.01) and np.all(rates >= 1e-3 / 10.01)


def test_the_loss_and_the_horizon_are_used_where_they_are_known():
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


def test_the_scale_of_the_loss_does_not_matter():
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


def test_a_run_beyond_its_horizon_goes_on_and_says_so_once():
    optimizer = controlled(theta_with(decay=1.0), total_steps=6)
    with pytest.warns(UserWarning, match=r"total_steps=6, .*beyond") as told:
        model, losses = trained(optimizer, epochs=3)
    assert len([w for w in told if "total_steps" in str(w.message)]) == 1
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(optimizer.rates, 1e-3 / 7.0, rtol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(*sequences(), batch_size=16, verbose=0)


def test_an_eager_loop_is_told_at_once():
    optimizer, w = MetaAdam(weights=None, total_steps=2), keras.Variable([1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(2):
            optimizer.apply([[1.0]], [w])
    with pytest.warns(UserWarning, match=r"step 3"):
        optimizer.apply([[1.0]], [w])


def test_a_poisoned_step_is_skipped():
    w = keras.Variable([1.0, -2.0])
    optimizer = MetaAdam(weights=None)
    gradients = [[0.1, 0.2]] * 30
    for poison in ([float("nan"), 0.1], [float("inf"), 0.1], [1e6, 0.1]):
        gradients += [poison, [0.1, 0.2]]
    clean, clean_w = keras.optimizers.Adam(1e-3), keras.Variable([1.0, -2.0])
    for gradient in gradients:
        before, slots = w.numpy(), np.array(optimizer.variables[-1])
        optimizer.apply([gradient], [w])
        if gradient != [0.1, 0.2]:
            assert np.array_equal(w.numpy(), before)
            assert np.array_equal(np.array(optimizer.variables[-1]), slots)
        else:
            clean.apply([gradient], [clean_w])
    assert optimizer.safeguard_counters["skipped_steps"] == 3
    np.testing.assert_allclose(w.numpy(), clean_w.numpy(), rtol=1e-3)


@pytest.mark.parametrize("jit", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_of_a_skipped_step_only_the_counters_remain(jit, bad):
    random = np.random.default_rng(0)
    shapes = [(200, 200), (200,), (200, 3), (3,), ()]
    weights = [keras.Variable(random.normal(size=shape)) for shape in shapes]
    optimizer = MetaAdam(weight_decay=0.01)
    optimizer.build(weights)

    def step(*gradients):
        optimizer.apply(list(gradients), weights)

    if jit is not None:
        step = tf.function(step, jit_compile=jit)
    drawn = [random.normal(size=shape).astype("float32") for shape in shapes]
    for _ in range(4):
        step(*[tf.constant(g) for g in drawn])
    states = zip(optimizer._state_keys, optimizer._state_variables, strict=True)
    kept = [state for key, state in states if key != ("guard", None)] + weights
    before = [np.array(variable) for variable in kept]
    drawn[2][5, 1] = bad
    step(*[tf.constant(g) for g in drawn])
    for old, variable in zip(before, kept, strict=True):
        np.testing.assert_array_equal(np.array(variable), old)
    assert optimizer.safeguard_counters["skipped_steps"] == 1
    assert optimizer.iterations == 5


def test_a_step_of_a_rate_that_is_not_finite_is_skipped():
    w = keras.Variable([1.0, -2.0])
    optimizer = MetaAdam(learning_rate=lambda: float("nan"))
    optimizer.apply([[0.1, 0.2]], [w])
    assert w.numpy().tolist() == [1.0, -2.0]
    assert optimizer.safeguard_counters["skipped_steps"] == 1


def test_a_skipped_step_does_not_decay_weights_either():
    w = keras.Variable([1.0, -2.0])
    MetaAdam(weights=None, weight_decay=0.1).apply([[float("nan"), 0.1]], [w])
    assert w.numpy().tolist() == [1.0, -2.0]


def test_without_the_safeguard_a_poisoned_step_is_taken():
    w = keras.Variable([1.0])
    optimizer = MetaAdam(weights=None, safeguard=False)
    optimizer.apply([[float("nan")]], [w])
    assert np.isnan(w.numpy()).all()
    assert optimizer.safeguard_counters == {}


def test_a_rising_loss_takes_the_rates_back_to_adams():
    optimizer = controlled(theta_with(one=2.0))
    w = keras.Variable([1.0, 2.0])
    random = np.random.default_rng(0)
    rates, trust = [], []
    for step in range(120):
        loss = (1.0 if step < 60 else 5.0) + 0.05 * random.normal()
        optimizer.scale_loss(keras.ops.convert_to_tensor(loss, "float32"))
        optimizer.apply([random.normal(size=2).astype("float32")], [w])
        rates.append(float(optimizer.rates[0]))
        trust.append(optimizer.safeguard_counters["trust"])
    assert trust[59] == 1.0 and min(trust) < 0.05
    assert min(rates) == pytest.approx(1e-3, rel=0.1)
    assert rates[59] == pytest.approx(rates[0], rel=1e-5) and rates[0] > 5e-3


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


def test_weight_decay_is_decoupled_and_scaled_by_the_rate():
    optimizer = controlled(theta_with(one=1.0), weight_decay=0.1)
    w = keras.Variable([1.0, -2.0])
    for _ in range(3):
        before = w.numpy()
        rate = 1e-3 if optimizer.rates is None else float(optimizer.rates[0])
        optimizer.apply([[0.0, 0.0]], [w])
        np.testing.assert_allclose(w.numpy(), before * (1 - 0.1 * rate), rtol=1e-6)


def test_frozen_weights_and_their_slots_stay():
    model = mixed_model()
    optimizer = controlled(theta_with(turn=0.5))
    optimizer.build(model.trainable_variables)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()[0]
    model.compile(optimizer, LOSS)
    model.fit(*sequences(), batch_size=16, epochs=2, verbose=0)
    assert np.array_equal(model.layers[0].get_weights()[0], frozen)
    for name in ("start", "path"):
        state = state_of(optimizer, name)
        assert np.all(state[0] == 0.0) and np.any(state[1] != 0.0)
    assert state_of(optimizer, "turns")[0, 0] == 0.0


def test_a_direction_out_of_its_range_is_not_made_larger_still():
    optimizer = controlled(theta_with(one=1.0))
    w = keras.Variable([1.0, 2.0])
    optimizer.build([w])
    # As after 300 steps with gradients of 0.001.
    slots = dict(zip(optimizer._state_keys, optimizer._state_variables, strict=True))
    slots["momentum_0", None].assign([1e-3, 1e-3])
    slots["velocity_0", None].assign([1e-6 * (1 - 0.999**300)] * 2)
    optimizer.iterations.assign(300)
    before = w.numpy()
    optimizer.apply([[0.05, 0.05]], [w])  # fifty times as large
    m = 0.9 * 1e-3 + 0.1 * 0.05
    v = 0.999 * 1e-6 * (1 - 0.999**300) + 0.001 * 0.05**2
    size = m / np.sqrt(v / (1 - 0.999**301))
    assert size > 1.5
    # Adam's step, with its bias corrections.
    expected = 1e-3 * m / (1 - 0.9**301) / np.sqrt(v / (1 - 0.999**301))
    np.testing.assert_allclose(before - w.numpy(), expected, rtol=1e-3)
    counters = optimizer.safeguard_counters
    assert counters["bounded_steps"] == 1 and counters["trust"] == 0.5


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
