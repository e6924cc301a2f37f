import keras
import numpy as np
import pytest

from keras_meta.presets import Preset, PresetError

DENSE = 1  # The place of the layer that claims more, in each model here.


def preset_of(model, units=None):
    serialized = keras.saving.serialize_keras_object(model)
    if units is not None:
        serialized["config"]["layers"][DENSE]["config"]["units"] = units
    return Preset(
        {"model": serialized},
        initialization=[np.array(v) for v in model.trainable_variables],
        non_trainable=[np.array(v) for v in model.non_trainable_weights],
    )


def test_a_card_that_claims_terabytes_is_refused_before_they_are_taken():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    # 8 TB: where this were tried, the process would be killed.
    with pytest.raises(PresetError, match="needs 3000000000000 values, one.*stores 6:"):
        preset_of(model, units=10**12).model()
    # Keras does not try it later, either.
    with keras.StatelessScope():
        pass
    assert preset_of(model).model().count_params() == 6


def test_claims_beside_what_cannot_be_built_without_memory_are_refused():
    layers = [
        keras.Input((5, 2), batch_size=3),
        keras.layers.Dense(2),
        keras.layers.LSTM(2, stateful=True),
    ]
    with pytest.raises(PresetError, match="values so far, one variable of 2000"):
        preset_of(keras.Sequential(layers), units=10**12).model()


def test_models_with_hidden_states_are_rebuilt():
    layers = [
        keras.Input((5, 2), batch_size=3),
        keras.layers.Dropout(0.1),
        keras.layers.LSTM(2, stateful=True),
        keras.layers.BatchNormalization(),
    ]
    model = keras.Sequential(layers)
    again = preset_of(model).model()
    for variable, value in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(variable, value)
