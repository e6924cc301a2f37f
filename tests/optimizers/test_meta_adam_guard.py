"""`MetaAdam(safeguard=True)`: steps that are skipped, and rates that are held back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_meta.optimizers import MetaAdam


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


def test_distances_are_from_the_weights_before_the_first_step_that_was_taken(state_of):
    w = keras.Variable([3.0, 4.0])
    optimizer = MetaAdam()
    for gradient in ([float("nan"), 0.1], [0.2, 0.1], [0.2, 0.1]):
        optimizer.apply([gradient], [w])
    assert state_of(optimizer, "start").tolist() == [[3.0, 4.0]]


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


def test_a_rising_loss_takes_the_rates_back_to_adams(theta_with, controlled):
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


def test_a_direction_out_of_its_range_is_not_made_larger_still(theta_with, controlled):
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
