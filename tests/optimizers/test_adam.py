"""Adam: beside Keras' own."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import Adam


@pytest.mark.parametrize(
    "settings",
    [{}, {"learning_rate": 0.1}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01}],
)
def test_steps_are_those_of_keras(settings, weights_after_each_step):
    run = weights_after_each_step
    np.testing.assert_allclose(
        run(Adam(**settings)), run(keras.optimizers.Adam(**settings)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [("beta_1", 1.0), ("beta_2", -0.1), ("epsilon", 0.0), ("epsilon", "small")],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(
        ValueError, match=f"Argument `{argument}`.*Received: {argument}"
    ):
        Adam(**{argument: value})
