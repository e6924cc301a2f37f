"""Hostile cards: nothing that a card names may run, be imported or be opened."""

import copy
import os
import sys

import keras
import pytest

from keras_meta.presets import (
    Preset,
    PresetError,
    later_settings,
    load,
    serialized_object,
)
from keras_meta.presets.serialized_object import build_model

HOSTILE_OBJECTS = {
    "function of the system": {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    },
    "class of another package": {
        "module": "subprocess",
        "class_name": "Popen",
        "config": {"args": ["touch", "executed"]},
        "registered_name": "Popen",
    },
    "dotted name": {"module": "keras", "class_name": "utils.get_file", "config": {}},
    "function of Keras": {
        "module": "keras.models",
        "class_name": "load_model",
        "config": {"filepath": "executed"},
    },
    "lambda": {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}},
    "type": {
        "class_name": "__typespec__",
        "spec_name": "system",
        "module": "os",
        "config": [],
        "registered_name": None,
    },
    "lambda layer": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": "executed"},
    },
    "no config": {"module": "os", "class_name": "system"},
    "name that is no str": {"module": "os", "class_name": ["system"], "config": {}},
}


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "system", lambda *args: calls.append(args))
    return calls


@pytest.mark.parametrize("kind", HOSTILE_OBJECTS)
@pytest.mark.parametrize("entry", ["optimizer", "model"])
def test_hostile_object_inside_a_config(preset, tmp_path, calls, entry, kind):
    card = copy.deepcopy(preset.card)
    card[entry]["config"]["name"] = {"deep": [HOSTILE_OBJECTS[kind]]}
    hostile = Preset(card, preset.theta, preset.initialization, preset.non_trainable)
    hostile.save(tmp_path / "hostile.kmeta")
    loaded = load(tmp_path / "hostile.kmeta")
    with pytest.raises(PresetError, match="names an object that is never built"):
        getattr(loaded, entry)()
    assert calls == []
    assert not os.path.exists("executed")


def test_hostile_object_in_place_of_the_optimizer(preset, calls):
    preset.card["optimizer"] = {
        "module": "os",
        "class_name": "system",
        "config": {"command": "touch executed"},
        "registered_name": None,
    }
    with pytest.raises(PresetError, match="registered_name=None, class_name='system'"):
        preset.optimizer()
    assert calls == []


def test_module_that_a_card_names_is_not_imported(preset, tmp_path, monkeypatch):
    (tmp_path / "keras_hub.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras_hub", raising=False)
    preset.card["model"] |= {"module": "keras_hub", "registered_name": None}
    with pytest.raises(PresetError, match="Received: module='keras_hub'"):
        preset.model()


def test_optimizer_of_keras_cannot_carry_theta(preset):
    preset.card["optimizer"] = keras.saving.serialize_keras_object(
        keras.optimizers.SGD()
    )
    with pytest.raises(PresetError, match="must be a learned optimizer"):
        preset.optimizer()


def test_real_lambda_layer_is_not_executed():
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Lambda(lambda x: x, output_shape=(1,))]
    )
    serialized = keras.saving.serialize_keras_object(model)
    with pytest.raises(PresetError, match="class_name='Lambda'"):
        build_model(serialized, 100)


def test_ops_regularizers_and_registered_layers_are_built():
    x = keras.Input((3,))
    y = keras.layers.Dense(
        2, activation=keras.activations.gelu, kernel_regularizer="l2"
    )
    model = keras.Model(x, keras.ops.tanh(y(x) * 2.0 + 1.0))
    again = build_model(keras.saving.serialize_keras_object(model), 100)
    again.set_weights(model.get_weights())
    batch = keras.random.normal((4, 3), seed=1)
    difference = keras.ops.max(keras.ops.abs(again(batch) - model(batch)))
    assert float(difference) == 0.0


def test_what_is_no_model_is_refused():
    serialized = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    with pytest.raises(PresetError, match="must describe a `keras.Model`.*Dense"):
        build_model(serialized, 100)


def test_bad_config_gives_one_error(preset):
    preset.card["model"]["config"]["layers"] = 3
    with pytest.raises(PresetError, match="Could not build the preset's model"):
        preset.model()


def test_keras_own_safe_mode_is_a_second_wall(monkeypatch):
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Lambda(lambda x: x, output_shape=(1,))]
    )
    monkeypatch.setattr(serialized_object, "_check_names", lambda value: None)
    with pytest.raises(PresetError, match="Could not build the preset's model.*safe"):
        build_model(keras.saving.serialize_keras_object(model), 100)


def newer_model(setting):
    """Returns a serialized model whose layers have settings of a later Keras."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    serialized = keras.saving.serialize_keras_object(model)
    [dense] = [
        layer["config"]
        for layer in serialized["config"]["layers"]
        if layer["class_name"] == "Dense"
    ]
    dense["kernel_initializer"]["config"]["of_a_later_keras"] = setting
    dense["of_a_later_keras"] = setting
    return serialized


def test_a_model_of_a_later_keras_is_built_where_its_new_settings_are_null():
    serialized = newer_model(None)
    before = copy.deepcopy(serialized)
    assert build_model(serialized, 100).output_shape == (None, 2)
    assert serialized == before


def test_a_new_setting_that_is_not_null_is_refused():
    with pytest.raises(PresetError, match="of_a_later_keras"):
        build_model(newer_model([0]), 100)


def test_a_new_setting_at_its_default_is_left_out(monkeypatch):
    monkeypatch.setitem(
        later_settings.LATER_DEFAULTS, ("Dense", "of_a_later_keras"), 0.5
    )
    serialized = newer_model(None)
    serialized["config"]["layers"][1]["config"]["of_a_later_keras"] = 0.5
    assert build_model(serialized, 100).output_shape == (None, 2)
    serialized["config"]["layers"][1]["config"]["of_a_later_keras"] = 0.25
    with pytest.raises(PresetError, match="of_a_later_keras"):
        build_model(serialized, 100)


def test_what_keras_says_of_a_bad_model_comes_without_the_whole_config():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    serialized = keras.saving.serialize_keras_object(model)
    serialized["config"]["layers"][1]["config"]["units"] = "many"
    with pytest.raises(PresetError, match="the Keras that its card's") as caught:
        build_model(serialized, 100)
    assert len(str(caught.value)) < 700
