"""SGD equals `keras.optimizers.SGD`, which gives the expected numbers."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import SGD

SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
]


def run(optimizer, num_steps=5):
    random = np.random.default_rng(0)
    variables = [keras.Variable(random.normal(size=shape)) for shape in ((3, 2), (2,))]
    for _ in range(num_steps):
        gradients = [random.normal(size=v.shape).astype("float32") for v in variables]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    return [v.numpy() for v in variables]


def constant_rate():
    return keras.ops.convert_to_tensor(0.05)


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_keras_sgd(settings):
    expected = run(keras.optimizers.SGD(0.1, **settings))
    for received, array in zip(run(SGD(0.1, **settings)), expected, strict=True):
        np.testing.assert_allclose(received, array, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("settings", SETTINGS)
def test_from_keras_takes_over_the_rule(settings):
    original = keras.optimizers.SGD(0.1, **settings)
    for received, array in zip(
        run(SGD.from_keras(original)), run(original), strict=True
    ):
        np.testing.assert_allclose(received, array, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "rate",
    [
        keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5),
        constant_rate,
    ],
    ids=["schedule", "callable"],
)
def test_from_keras_takes_over_what_sets_the_rate(rate):
    original = keras.optimizers.SGD(rate)
    for received, array in zip(
        run(SGD.from_keras(original)), run(original), strict=True
    ):
        np.testing.assert_allclose(received, array, rtol=1e-6, atol=1e-7)


def test_two_steps_with_momentum_by_hand():
    # velocity -0.1, then 0.5 * -0.1 - 0.1 = -0.15: w = 1 - 0.1 - 0.15.
    w = keras.Variable([1.0])
    optimizer = SGD(0.1, momentum=0.5)
    for _ in range(2):
        optimizer.apply([keras.ops.ones((1,))], [w])
    np.testing.assert_allclose(w.numpy(), [0.75], rtol=1e-6)


def test_nothing_is_learned():
    optimizer = SGD()
    optimizer.build([keras.Variable([1.0])])
    assert optimizer.theta_values() == {}
    assert float(optimizer.learning_rate.numpy()) == np.float32(0.01)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_must_be_in_range(momentum):
    with pytest.raises(ValueError) as caught:
        SGD(momentum=momentum)
    assert str(caught.value) == (
        f"Argument `momentum` must be in [0, 1). Received: momentum={momentum!r}."
    )


@pytest.mark.parametrize(
    ("optimizer", "received"),
    [
        (keras.optimizers.Adam(), "Adam with no extra settings"),
        (keras.optimizers.SGD(clipnorm=1.0), "SGD with {'clipnorm': 1.0}"),
        (keras.optimizers.SGD(weight_decay=0.1), "SGD with {'weight_decay': 0.1}"),
        (keras.optimizers.SGD(use_ema=True), "SGD with {'use_ema': True}"),
    ],
)
def test_from_keras_refuses_what_is_not_the_rule(optimizer, received):
    with pytest.raises(ValueError) as caught:
        SGD.from_keras(optimizer)
    assert str(caught.value) == (
        "Only a plain `keras.optimizers.SGD` can be used where a "
        f"`keras_meta.LearnedOptimizer` is needed. Received: {received}. Write the "
        "rule as a subclass of `keras_meta.LearnedOptimizer`."
    )


def test_config_round_trip():
    config = SGD(0.5, momentum=0.9, nesterov=True).get_config()
    copy = SGD.from_config(config)
    assert (copy.momentum, copy.nesterov) == (0.9, True)
    assert copy.get_config() == config
