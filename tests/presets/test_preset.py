import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_meta.presets import Preset, PresetError, load
from keras_meta.presets.files import write_preset


def values(model):
    return [np.asarray(keras.ops.convert_to_numpy(w)) for w in model.weights]


def test_round_trip(preset, tmp_path):
    path = tmp_path / "tiny.kmeta"
    preset.save(path)
    again = load(path)
    card = json.loads(json.dumps(preset.card))  # JSON has no tuples.
    assert {key: again.card[key] for key in card} == card
    assert again.parameters == preset.parameters
    assert again.tensors().keys() == preset.tensors().keys()
    assert again.theta["alpha"].dtype == np.float32
    for name, value in preset.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights/a", "not part of a preset.*Received: 'weights/a'"),
        ("theta/", "not part of a preset"),
        ("initialization/x", "not part of a preset"),
        ("initialization/001", "lacks the tensor 'initialization/000'"),
    ],
)
def test_refuses_tensors_of_other_names(tmp_path, name, message):
    path = tmp_path / "other.kmeta"
    write_preset(path, {name: np.zeros(2, "float32")}, {})
    with pytest.raises(PresetError, match=message):
        load(path)


def test_refuses_theta_that_is_not_float32():
    with pytest.raises(PresetError, match=r"theta\['a'\] must be a float32.*float64"):
        Preset({}, theta={"a": np.zeros(2)})


def test_refuses_arrays_that_the_card_describes_otherwise():
    card = {"initialization": [{"path": "w", "shape": [3]}]}
    with pytest.raises(PresetError, match="must describe the arrays of the same name"):
        Preset(card, initialization=[np.zeros(2)])


def test_optimizer_gets_config_theta_and_parameters(preset):
    optimizer = preset.optimizer()
    theta, parameters = optimizer.received
    assert type(optimizer).__name__ == "TinyOptimizer"
    np.testing.assert_allclose(optimizer.learning_rate, 0.5)
    np.testing.assert_array_equal(theta["alpha"], np.array([0.1, 0.2], "float32"))
    assert parameters[0] == ("tiny/first/kernel", (3, 2))
    theta["alpha"][:] = 0.0
    np.testing.assert_allclose(preset.theta["alpha"], [0.1, 0.2])


def test_optimizer_overrides(preset):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.25, 10, 0.5)
    optimizer = preset.optimizer(clipnorm=2.0, learning_rate=schedule)
    assert optimizer.clipnorm == 2.0
    np.testing.assert_allclose(optimizer.learning_rate, 0.25)
    np.testing.assert_allclose(preset.optimizer().learning_rate, 0.5)


def test_optimizer_refuses_an_unknown_override(preset):
    message = "no key 'clip'. Valid keys: clipnorm, .*Received: \\['clip'\\]"
    with pytest.raises(ValueError, match=message):
        preset.optimizer(clip=1.0)


def test_optimizer_reports_what_the_class_refuses(preset):
    message = "Could not build the preset's optimizer 'TinyOptimizer'.*`clipnorm`"
    with pytest.raises(PresetError, match=message):
        preset.optimizer(clipnorm=1.0, clipvalue=1.0)


def test_optimizer_of_a_preset_without_one():
    with pytest.raises(PresetError, match="holds no optimizer, only an init"):
        Preset({}, initialization=[np.zeros(2)]).optimizer()


def test_initialize_assigns_everything(preset, make_model):
    model = make_model()
    assert preset.initialize(model) is model
    trained = model.trainable_variables
    for variable, value in zip(trained, preset.initialization, strict=True):
        np.testing.assert_array_equal(variable, value)
    np.testing.assert_array_equal(model.layers[1].moving_mean, [1.0, 2.0])
    np.testing.assert_array_equal(model.layers[1].moving_variance, [3.0, 4.0])


def test_initialize_refuses_other_shapes_and_assigns_nothing(preset, make_model):
    model = make_model(units=4)
    before = values(model)
    name = "'tiny/first/kernel'"
    message = rf"0: expected {name} \(3, 2\), received {name} \(3, 4\); "
    with pytest.raises(ValueError, match=message):
        preset.initialize(model)
    np.testing.assert_equal(values(model), before)


def test_initialize_refuses_other_counts_and_assigns_nothing(preset, make_model):
    model = make_model()
    model.layers[1].trainable = False
    before = values(model)
    message = r"2: expected 'tiny/norm/gamma' \(2,\), received nothing; 3: .*norm/beta"
    with pytest.raises(ValueError, match=message):
        preset.initialize(model)
    np.testing.assert_equal(values(model), before)


def test_initialize_checks_the_non_trainable_before_it_assigns(preset, make_model):
    preset.non_trainable.pop()
    model = make_model()
    before = values(model)
    with pytest.raises(ValueError, match="non_trainable variables are not those"):
        preset.initialize(model)
    np.testing.assert_equal(values(model), before)


def test_initialize_compares_names():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    described = [{"path": "a/kernel", "shape": [1, 1]}, {"path": "a/b", "shape": [1]}]
    arrays = [np.full((1, 1), 7.0), np.zeros(1)]
    before = values(model)
    for key in ("parameters", "initialization"):
        preset = Preset({key: described}, initialization=arrays)
        with pytest.raises(ValueError, match=r"1: expected 'a/b' .* '.*/bias' \(1,\)"):
            preset.initialize(model)
    np.testing.assert_equal(values(model), before)
    Preset({}, initialization=arrays).initialize(model)  # No names, no comparison.
    assert float(model.weights[0][0, 0]) == 7.0


def test_initialize_lists_the_first_few():
    model = keras.Sequential([keras.Input((1,)), *[keras.layers.Dense(1)] * 4])
    arrays = [np.zeros(9)] * 8
    with pytest.raises(ValueError, match="4: .*; and 3 more"):
        Preset({}, initialization=arrays).initialize(model)


def test_initialize_refuses_an_unbuilt_model(preset):
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must be built .*`keras.Input`"):
        preset.initialize(model)


def test_initialize_of_a_preset_without_an_initialization(make_model):
    with pytest.raises(PresetError, match="holds no initialization"):
        Preset({}).initialize(make_model())


def test_model_is_rebuilt_and_initialized(preset, make_model, tmp_path):
    preset.save(tmp_path / "tiny.kmeta")
    model = load(tmp_path / "tiny.kmeta").model()
    x = np.ones((4, 3), "float32")
    expected = preset.initialize(make_model())(x)
    np.testing.assert_array_equal(model(x), expected)


def test_model_of_a_preset_without_one():
    with pytest.raises(PresetError, match="does not hold the model's architecture"):
        Preset({}, initialization=[np.zeros(2)]).model()


def test_works_on_the_jax_backend(preset, tmp_path):
    pytest.importorskip("jax")
    preset.save(tmp_path / "tiny.kmeta")
    program = (
        "import sys, keras\n"
        "from keras_meta.presets import load\n"
        "model = load(sys.argv[1]).model()\n"
        "print(keras.backend.backend(), float(model.weights[0][0, 0]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "tiny.kmeta")],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["jax", "10.0"], run.stderr
