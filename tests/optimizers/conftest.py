"""What the tests of several rules need."""

import keras
import numpy as np
import pytest

SCALES = (1.0, 1e-4, 10.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="session")
def weights_after_each_step():
    """Returns a function of an optimizer: five weights after each of six steps."""
    gradients = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")

    def run(optimizer):
        variable = keras.Variable(np.linspace(-1.0, 1.0, 5, dtype="float32"))
        values = []
        for scale, gradient in zip(SCALES, gradients, strict=True):
            optimizer.apply([scale * gradient], [variable])
            values.append(np.array(variable))
        return values

    return run
