"""A trainer of optimizers, as a preset and back."""

import keras

from keras_meta.presets import Preset
from keras_meta.training.learner_card import (
    finite_or_none,
    made,
    restored,
    settings_of,
)

CARD_KEY = "optimizer_trainer"


def trainer_config(trainer):
    """Returns the trainer's arguments but for the optimizer, as JSON values."""
    return {
        "horizon": list(trainer.horizon),
        "truncation": trainer.truncation,
        "meta_gradient": keras.saving.serialize_keras_object(trainer.meta_gradient),
        "meta_objective": trainer.meta_objective,
        "curriculum": trainer.curriculum,
        "second_order": trainer.second_order,
        "task_clipnorm": trainer.task_clipnorm,
        "seed": trainer.seed,
    }


def save(trainer, path, title=None):
    """Writes what was learned; see `OptimizerTrainer.save_preset`."""
    optimizer = trainer.learned_optimizer()
    card = {
        "title": title or f"{type(optimizer).__name__}, meta-trained",
        "optimizer": keras.saving.serialize_keras_object(optimizer),
        CARD_KEY: trainer_config(trainer),
        "trained_on": trainer.training_facts(),
    }
    if trainer.compiled:
        card["compile"] = trainer.get_compile_config()
    if trainer.last_evaluation:
        card["evaluation"] = keras.tree.map_structure(
            finite_or_none, trainer.last_evaluation
        )
    Preset(card, trainer.theta_values()).save(path)


def trainer_of(cls, preset):
    """Returns the trainer that a preset was saved by.

    Raises:
        PresetError: if the preset was not saved by such a trainer.
    """
    config = settings_of(
        preset, CARD_KEY, "OptimizerTrainer", "`keras_meta.load(...).optimizer()`"
    )
    return restored(made(cls, preset.optimizer(), **config), preset)
