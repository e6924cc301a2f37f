"""A small learned optimizer and a preset that holds one."""

import keras
import numpy as np
import pytest

from keras_meta.presets import Preset
from keras_meta.presets.preset import describe_variables


@keras.saving.register_keras_serializable(package="keras_meta_tests")
class TinyOptimizer(keras.optimizers.SGD):
    """SGD that remembers what `set_theta` was given."""

    def set_theta(self, theta, parameters):
        self.received = (theta, tuple(parameters))


@pytest.fixture
def make_model():
    def make(units=2):
        return keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(units, name="first"),
                keras.layers.BatchNormalization(name="norm"),
            ],
            name="tiny",
        )

    return make


@pytest.fixture
def preset(make_model):
    model = make_model()
    arrays = [
        np.full(variable.shape, 10 + index, "float32")
        for index, variable in enumerate(model.trainable_variables)
    ]
    moving = [np.array([1.0, 2.0], "float32"), np.array([3.0, 4.0], "float32")]
    return Preset(
        {
            "title": "Tiny",
            "optimizer": keras.saving.serialize_keras_object(
                TinyOptimizer(learning_rate=0.5)
            ),
            "model": keras.saving.serialize_keras_object(model),
            "parameters": describe_variables(model.trainable_variables),
            "non_trainable": describe_variables(model.non_trainable_weights),
        },
        theta={"alpha": np.array([0.1, 0.2], "float32")},
        initialization=arrays,
        non_trainable=moving,
    )
