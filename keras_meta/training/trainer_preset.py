"""How a trainer becomes a preset and a preset a trainer."""

import math

import keras

from keras_meta.presets import Preset, PresetError
from keras_meta.presets.preset import describe_variables
from keras_meta.presets.serialized_object import build_values


def trainer_config(trainer):
    """Returns the trainer's arguments but for the model, as JSON values."""
    reduction = trainer.task_reduction
    adapt = trainer.adapt_choice
    return {
        "inner_optimizer": keras.saving.serialize_keras_object(trainer.inner_optimizer),
        "inner_steps": trainer.inner_steps,
        "learn_initialization": trainer.learn_initialization,
        # A function of the user's is stored as what it chose.
        "adapt": adapt if isinstance(adapt, str) else list(trainer.adapted),
        "meta_gradient": trainer.meta_gradient,
        "task_reduction": reduction
        if isinstance(reduction, str)
        else keras.saving.serialize_keras_object(reduction),
        "task_axis": trainer.task_axis,
        "batch_statistics": trainer.batch_statistics,
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
    specs = trainer.adapted_specs()
    card = {
        "title": title
        or f"{type(trainer.inner_optimizer).__name__}, {trainer.inner_steps} steps",
        "optimizer": optimizer,
        "model": keras.saving.serialize_keras_object(trainer.model),
        "trainer": config,
        "parameters": [{"path": s.path, "shape": list(s.shape)} for s in specs],
        "initialization": describe_variables(trainer.model.trainable_variables),
        "non_trainable": describe_variables(trainer.model.non_trainable_weights),
        "trained_on": trainer.training_facts(),
    }
    if trainer.compiled:
        card["compile"] = trainer.get_compile_config()
    if trainer.last_evaluation:
        # JSON has no NaN: what diverged is null.
        card["evaluation"] = keras.tree.map_structure(
            _finite_or_none, trainer.last_evaluation
        )
    numpy_of = keras.ops.convert_to_numpy
    return Preset(
        card,
        trainer.theta_values(),
        [numpy_of(v) for v in trainer.model.trainable_variables],
        [numpy_of(v) for v in trainer.model.non_trainable_weights],
    )


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
    config = preset.card.get("trainer")
    if not isinstance(config, dict):
        raise PresetError(
            "This preset was not saved by a MetaTrainer: its card has no `trainer`. "
            f"Received the card keys {sorted(preset.card)}. Use "
            "`keras_meta.load(...).optimizer()`."
        )
    config = build_values(config, "trainer settings")
    compiling = build_values(preset.card.get("compile", {}), "compile settings")
    try:
        trainer = cls(preset.model(), preset.optimizer(), **config)
    except TypeError as error:
        raise PresetError(
            f"This preset's card names trainer settings that this keras_meta does not "
            f"have: {error}. Upgrade keras_meta."
        ) from error
    if compiling:
        trainer.compile(**compiling)
    trained_on = preset.card.get("trained_on", {})
    trainer.loaded_facts = trained_on
    trainer.meta_step.assign(int(trained_on.get("meta_steps", 0)))
    return trainer


def _finite_or_none(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
