import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.presets import PresetError


@pytest.fixture(scope="module")
def trained(make_trainer, sinusoids):
    trainer = make_trainer(metrics=["mae"], inner_steps=2)
    trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=3, verbose=0)
    return trainer, trainer.evaluate(sinusoids, episodes=4, verbose=0)


@pytest.fixture(scope="module")
def path(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "trained.kmeta"
    trained[0].save_preset(path, title="Sines")
    return path


def test_from_preset_evaluates_equally_and_trains_on(trained, path, sinusoids):
    trainer, result = trained
    again = keras_meta.MetaTrainer.from_preset(path)
    assert again.evaluate(sinusoids, episodes=4, verbose=0) == result
    assert (again.seed, again.inner_steps, int(again.meta_step)) == (7, 2, 3)
    again.fit(sinusoids, meta_batch_size=2, steps_per_epoch=1, verbose=0)
    assert int(again.meta_step) == 4
    assert not np.array_equal(again.get_weights()[0], trainer.get_weights()[0])


def test_the_card_tells_what_was_done(path, trained):
    card = keras_meta.load(path).card
    assert card["title"] == "Sines"
    assert card["trained_on"]["meta_steps"] == 3
    assert card["trained_on"]["tasks"]["arguments"]["shots"] == 5
    assert card["evaluation"]["results"] == trained[1]


def test_the_loaded_optimizer_in_plain_fit_takes_the_steps_of_adapt(
    trained, path, sinusoids
):
    """One batch is the whole support set, one epoch is one inner step."""
    trainer, _ = trained
    episode = sinusoids.sample(5)
    preset = keras_meta.load(path)
    model = preset.initialize(keras.models.clone_model(trainer.model))
    model.compile(preset.optimizer(), loss="mse", jit_compile=False)
    x, y = np.array(episode.support_x), np.array(episode.support_y)
    model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    adapted = trainer.adapt(x, y)
    for value, wanted in zip(model.get_weights(), adapted.get_weights(), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-7)


def test_another_architecture_is_refused(path):
    preset = keras_meta.load(path)
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="nothing was assigned. Build the same layers"):
        preset.initialize(other)
    with pytest.raises(ValueError, match="belong to another architecture.*adapt_to"):
        keras_meta.MetaTrainer(other, preset.optimizer())


def test_a_preset_without_a_trainer_is_named(path, tmp_path):
    preset = keras_meta.load(path)
    del preset.card["trainer"]
    preset.save(tmp_path / "bare.kmeta")
    with pytest.raises(
        PresetError, match="was not saved by a MetaTrainer: its card has"
    ):
        keras_meta.MetaTrainer.from_preset(tmp_path / "bare.kmeta")


NEW_SETTINGS = {
    "inner_steps": 2,
    "inner_batch_size": np.int64(3),
    "multi_step_loss": [np.float32(0.5), 1.5],
    "evaluation_steps": 3,
    "remat": True,
    "task_reduction": keras_meta.training.TrimmedMean(0.1),
}


def test_every_setting_comes_back(make_trainer, sinusoids, tmp_path):
    trainer = make_trainer(**NEW_SETTINGS)
    trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=1, verbose=0)
    trainer.save_preset(tmp_path / "all.kmeta")
    trainer.save(tmp_path / "all.keras")
    for again in (
        keras_meta.MetaTrainer.from_preset(tmp_path / "all.kmeta"),
        keras.models.load_model(tmp_path / "all.keras"),
    ):
        assert again.inner_batch_size == 3
        assert again.multi_step_loss == [0.5, 1.5]
        assert again.evaluation_steps == 3
        assert again.remat is True
        assert again.task_reduction.fraction == 0.1


def test_unknown_settings_are_named(path, tmp_path):
    preset = keras_meta.load(path)
    preset.card["trainer"]["novelty"] = 3
    preset.save(tmp_path / "new.kmeta")
    with pytest.raises(PresetError, match="'novelty'.*Upgrade keras_meta"):
        keras_meta.MetaTrainer.from_preset(tmp_path / "new.kmeta")


@pytest.mark.parametrize("place", ["trainer", "compile"])
def test_a_hostile_card_builds_nothing(path, tmp_path, place):
    preset = keras_meta.load(path)
    evil = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": "os.system"},
        "registered_name": None,
    }
    entry = {"trainer": "task_reduction", "compile": "loss"}[place]
    preset.card[place][entry] = evil
    preset.save(tmp_path / "evil.kmeta")
    with pytest.raises(PresetError, match="never built from a preset.*'Lambda'"):
        keras_meta.MetaTrainer.from_preset(tmp_path / "evil.kmeta")


def test_a_loss_of_ones_own_needs_registration(make_trainer, sinusoids, tmp_path):
    def own_loss(y, y_pred):
        return keras.ops.mean(keras.ops.abs(y - y_pred))

    trainer = make_trainer(loss=own_loss)
    with pytest.raises(
        PresetError, match="compile settings: .*'own_loss'.*register it with"
    ):
        trainer.save_preset(tmp_path / "own.kmeta")
    assert not (tmp_path / "own.kmeta").exists()
    keras.saving.get_custom_objects()["own_loss"] = own_loss
    try:
        trainer.save_preset(tmp_path / "own.kmeta")
        again = keras_meta.MetaTrainer.from_preset(tmp_path / "own.kmeta")
    finally:
        del keras.saving.get_custom_objects()["own_loss"]
    results = [t.evaluate(sinusoids, episodes=2, verbose=0) for t in (trainer, again)]
    assert results[0] == results[1]


def test_a_save_that_fails_leaves_the_old_file(trained, path, make_trainer):
    old = path.read_bytes()
    trainer = make_trainer()
    trainer.model.layers[0].kernel.assign(np.full((1, 4), np.nan))
    with pytest.raises(PresetError, match="[Nn]a[Nn]|finite"):
        trainer.save_preset(path)
    assert path.read_bytes() == old


def test_choices_survive(make_trainer, sinusoids, tmp_path):
    """A predicate is stored as what it chose; SGD has no theta."""
    trainer = make_trainer(
        inner=keras_meta.SGD(0.02),
        adapt=lambda variable: "bias" in variable.path,
        meta_gradient="first_order",
    )
    trainer.save_preset(tmp_path / "maml.kmeta")
    again = keras_meta.MetaTrainer.from_preset(tmp_path / "maml.kmeta")
    assert again.adapted == (False, True, False, True)
    assert again.meta_gradient == "first_order"
    results = [t.evaluate(sinusoids, episodes=2, verbose=0) for t in (trainer, again)]
    assert results[0] == results[1]


def test_a_diverged_evaluation_can_be_saved(make_trainer, sinusoids, tmp_path):
    trainer = make_trainer(inner=keras_meta.SGD(1e30), inner_steps=3)
    result = trainer.evaluate(sinusoids, episodes=2, verbose=0)
    assert not np.isfinite(result["loss"]["mean"][3])
    trainer.save_preset(tmp_path / "diverged.kmeta")
    card = keras_meta.load(tmp_path / "diverged.kmeta").card
    assert card["evaluation"]["results"]["loss"]["mean"][3] is None
    assert card["evaluation"]["results"]["loss"]["mean"][0] > 0
