"""RMSprop: beside Keras' own."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import RMSprop

GRADIENTS = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


def run(optimizer):
    variable = keras.Variable(np.linspace(-1.0, 1.0, 5, dtype="float32"))
    values = []
    for scale, gradient in zip(
        (1.0, 1e-4, 10.0, 0.0, 1.0, 1.0), GRADIENTS, strict=True
    ):
        optimizer.apply([scale * gradient], [variable])
        values.append(np.array(variable))
    return values


@pytest.mark.parametrize(
    "settings",
    [{}, {"learning_rate": 0.1}, {"rho": 0.5, "epsilon": 0.01}],
)
def test_steps_are_those_of_keras(settings):
    np.testing.assert_allclose(
        run(RMSprop(**settings)), run(keras.optimizers.RMSprop(**settings)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [("rho", 1.0), ("rho", True), ("epsilon", 0.0)],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(
        ValueError, match=f"Argument `{argument}`.*Received: {argument}"
    ):
        RMSprop(**{argument: value})
