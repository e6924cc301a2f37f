"""`LSTMOptimizer(weights="default")`: what ships, and how it is kept and refused."""

import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.optimizers import LSTMOptimizer
from keras_meta.presets.registry import find_preset

NAME = "lstm_default"


def model_of(units, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(3),
        ]
    )


def data():
    random = np.random.default_rng(0)
    y = np.arange(96) % 3
    return random.normal(size=(96, 4)).astype("float32") + 2.0 * y[:, None], y


def fitted(optimizer, seed=0, epochs=10):
    x, y = data()
    model = model_of(8, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, shuffle=False)
    return model, history.history["loss"]


def test_the_weights_ship_small():
    assert find_preset(NAME).stat().st_size < 100_000
    card = keras_meta.load(NAME).card
    assert card["trained_on"]["meta_batch_size"] > 1


def test_they_train_a_model_with_nothing_to_tune():
    _, losses = fitted(LSTMOptimizer(weights="default"))
    _, random = fitted(LSTMOptimizer(inputs="normalized", seed=0))
    _, adam = fitted(keras.optimizers.Adam())
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < adam[-1]
    assert losses[-1] < random[-1]


def test_they_are_those_of_the_preset():
    _, of_weights = fitted(LSTMOptimizer(weights="default"), epochs=2)
    _, of_preset = fitted(LSTMOptimizer.from_preset(NAME), epochs=2)
    assert of_weights == of_preset


def test_a_config_brings_them_back():
    made = LSTMOptimizer(weights="default", learning_rate=0.5)
    again = LSTMOptimizer.from_config(made.get_config())
    assert again.weights == "default"
    assert again.inputs == made.inputs
    assert fitted(made, epochs=1)[1] == fitted(again, epochs=1)[1]


def test_a_saved_model_goes_on_with_them(tmp_path):
    model, _ = fitted(LSTMOptimizer(weights="default"), epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, y = data()
    kept = [m.fit(x, y, shuffle=False, verbose=0).history for m in (model, loaded)]
    assert kept[0] == kept[1]


def test_other_weights_are_no_longer_the_default():
    optimizer = LSTMOptimizer(weights="default")
    halved = {name: 0.5 * value for name, value in optimizer.theta_values().items()}
    optimizer.set_theta(halved)
    assert optimizer.get_config()["weights"] is None
    copy = LSTMOptimizer.from_config(optimizer.get_config())
    copy.build(model_of(2).trainable_variables)
    with pytest.raises(RuntimeError, match="does not hold its learned values"):
        copy.apply([0.0 * v for v in model_of(2).trainable_variables])


def test_meta_training_goes_on_from_them():
    trainer = keras_meta.OptimizerTrainer(
        LSTMOptimizer(weights="default"), horizon=4, truncation=2, seed=0
    )
    start = trainer.theta_values()
    expected = keras_meta.load(NAME).theta
    assert all(np.array_equal(start[name], expected[name]) for name in expected)
    trainer.compile(keras.optimizers.Adam(1e-3))
    trainer.fit(
        keras_meta.tasks.Quadratic(3), meta_batch_size=2, steps_per_epoch=2, verbose=0
    )
    learned = trainer.learned_optimizer()
    assert learned.weights is None
    assert any(
        not np.array_equal(value, expected[name])
        for name, value in learned.theta_values().items()
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("inputs", "log_sign"),
        ("hidden_size", 10),
        ("num_layers", 1),
        ("output_scale", 0.01),
        ("decay", 0.9),
    ],
)
def test_weights_of_another_size_or_scale(argument, value):
    with pytest.raises(ValueError, match=f"Argument `{argument}` must be.*which were"):
        LSTMOptimizer(weights="default", **{argument: value})


@pytest.mark.parametrize("weights", ["imagenet", "mine.kmeta", 1, ["default"]])
def test_weights_that_there_are_not(weights):
    with pytest.raises(ValueError, match="must be None or one of .'default'.*from_pre"):
        LSTMOptimizer(weights=weights)


# ---- without any --------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_random_weights_are_said():
    with pytest.warns(UserWarning, match='random weights.*weights="default"'):
        fitted(LSTMOptimizer(seed=0), epochs=1)
    fitted(LSTMOptimizer(weights="default"), epochs=1)


@pytest.mark.filterwarnings("error:This LSTMOptimizer")
def test_loaded_weights_are_not_random(tmp_path):
    model, _ = fitted(LSTMOptimizer(weights="default"), epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, y = data()
    before = loaded.evaluate(x, y, verbose=0)
    loaded.fit(x, y, verbose=0)
    assert loaded.evaluate(x, y, verbose=0) < before
