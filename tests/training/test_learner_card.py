"""A preset of another kind is referred to the class that reads it."""

import keras
import pytest

import keras_meta
from keras_meta.presets import PresetError


def test_each_kind_of_preset_names_its_reader(make_trainer, tmp_path):
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    learner = keras_meta.learners.MatchingNetwork(encoder, seed=0)
    learner.save_preset(tmp_path / "learner.kmeta")
    make_trainer().save_preset(tmp_path / "trainer.kmeta")
    with pytest.raises(
        PresetError, match="Use `keras_meta.learners.MatchingNetwork.from_preset"
    ):
        keras_meta.MetaTrainer.from_preset(tmp_path / "learner.kmeta")
    with pytest.raises(PresetError, match="Use `keras_meta.MetaTrainer.from_preset"):
        keras_meta.learners.MatchingNetwork.from_preset(tmp_path / "trainer.kmeta")
