"""What the tests of several rules need."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import MetaAdam, rate_controller

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


@pytest.fixture
def theta_with():
    """Returns a function: a controller of 16 units, zero but for some weights."""

    def made(**values):
        theta = rate_controller.zero_theta(16)
        for name, value in values.items():
            if name == "decay":
                theta["decay"] += value
            else:
                name = name.replace("_", " ")
                theta["rate"][rate_controller.NAMES.index(name)] = value
        return theta

    return made


@pytest.fixture
def controlled():
    """Returns a function: a `MetaAdam` with a theta."""

    def made(theta, **kwargs):
        optimizer = MetaAdam(weights=None, seed=0, **kwargs)
        optimizer.set_theta(theta)
        return optimizer

    return made


@pytest.fixture
def state_of():
    """Returns a function: a part of an optimizer's state, as an array."""

    def made(optimizer, name):
        states = zip(optimizer._state_keys, optimizer._state_variables, strict=True)
        return np.array(dict(states)[name, None])

    return made
