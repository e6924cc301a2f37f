"""RMSprop: beside Keras' own."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import RMSprop


@pytest.mark.parametrize(
    "settings",
    [{}, {"learning_rate": 0.1}, {"rho": 0.5, "epsilon": 0.01}],
)
def test_steps_are_those_of_keras(settings, weights_after_each_step):
    run = weights_after_each_step
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
