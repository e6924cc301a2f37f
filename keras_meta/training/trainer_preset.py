"""How a trainer becomes a preset and a preset a trainer."""

import keras

from keras_meta.presets import Preset
from keras_meta.training.learner_card import (
    learner_card,
    made,
    restored,
    serialized_reduction,
    settings_of,
)


def trainer_config(trainer):
    """Returns the trainer's arguments but for the model, as JSON values."""
    adapt = trainer.adapt_choice
    return {
        "inner_optimizer": keras.saving.serialize_keras_object(trainer.inner_optimizer),
        "inner_steps": trainer.inner_steps,
        "learn_initialization": trainer.learn_initialization,
        # A function of the user's is stored as what it chose.
        "adapt": adapt if isinstance(adapt, str) else list(trainer.adapted),
        "meta_gradient": trainer.meta_gradient,
        "task_reduction": serialized_reduction(trainer.task_reduction),
        "task_axis": trainer.task_axis,
        "batch_statistics": trainer.batch_statistics,
        "inner_batch_size": trainer.inner_batch_size,
        "multi_step_loss": trainer.multi_step_loss,
        "evaluation_steps": trainer.evaluation_steps,
        "remat": trainer.remat,
        "seed": trainer.seed,
    }


def preset_of(trainer, title=None):
    """Returns a `Preset` of what the trainer has learned.

    Args:
        trainer: `MetaTrainer`.
        title: str or None.
    """
    config = trainer_config(trainer)
    optimizer = config.pop("inner_optimizer")
    optimizer["config"]["preset"] = None
    card, initialization, non_trainable = learner_card(
        trainer,
        trainer.model,
        title
        or f"{type(trainer.inner_optimizer).__name__}, {trainer.inner_steps} steps",
    )
    card["optimizer"] = optimizer
    card["trainer"] = config
    card["parameters"] = [
        {"path": spec.path, "shape": list(spec.shape)}
        for spec in trainer.adapted_specs()
    ]
    return Preset(card, trainer.theta_values(), initialization, non_trainable)


def save(trainer, path, title=None):
    """Writes the trainer's preset, if it could be loaded again.

    Raises:
        PresetError: what loading or storing it would raise; nothing is written.
    """
    preset = preset_of(trainer, title)
    trainer_of(type(trainer), preset)
    preset.save(path)


def trainer_of(cls, preset):
    """Returns the trainer that a preset was saved from, with what it learned.

    Raises:
        PresetError: if the preset was not saved by a trainer.
    """
    config = settings_of(
        preset, "trainer", "MetaTrainer", "`keras_meta.load(...).optimizer()`"
    )
    trainer = made(cls, preset.model(), preset.optimizer(), **config)
    return restored(trainer, preset)
