"""How a trainer is saved, rebuilt and turned into an adapted model."""

import os

import keras

from keras_meta.presets import Preset, PresetError
from keras_meta.presets.preset import describe_variables


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
        card["evaluation"] = trainer.last_evaluation
    numpy_of = keras.ops.convert_to_numpy
    return Preset(
        card,
        trainer.theta_values(),
        [numpy_of(v) for v in trainer.model.trainable_variables],
        [numpy_of(v) for v in trainer.model.non_trainable_weights],
    )


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
    config = {
        key: keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
    try:
        trainer = cls(preset.model(), preset.optimizer(), **config)
    except TypeError as error:
        raise PresetError(
            f"This preset's card names trainer settings that this keras_meta does not "
            f"have: {error}. Upgrade keras_meta."
        ) from error
    if "compile" in preset.card:
        trainer.compile_from_config(preset.card["compile"])
    trained_on = preset.card.get("trained_on", {})
    trainer.meta_step.assign(int(trained_on.get("meta_steps", 0)))
    return trainer


def adapted_model(trainer, parameters, others):
    """Returns a new model with the given values, compiled like the trainer.

    Args:
        trainer: compiled `MetaTrainer`.
        parameters: list of tensors, the trainable values.
        others: list of tensors, the non-trainable values.
    """
    original = trainer.model
    model = type(original).from_config(original.get_config())
    if not model.built:
        model.build_from_config(original.get_build_config())
    for source, target in zip(original.variables, model.variables, strict=True):
        target.assign(source)
    for target, value in zip(model.trainable_variables, parameters, strict=True):
        target.assign(value)
    for target, value in zip(model.non_trainable_variables, others, strict=True):
        target.assign(value)
    config = trainer.get_compile_config()
    model.compile(
        optimizer=trainer.learned_optimizer(),
        loss=keras.saving.deserialize_keras_object(config.get("loss")),
        metrics=keras.saving.deserialize_keras_object(config.get("metrics")),
    )
    return model


def save_atomically(save, filepath, overwrite, kwargs):
    """Calls Keras' `save_weights` so that the file appears whole or not at all."""
    filepath, ending = str(filepath), ".weights.h5"
    kept = os.path.exists(filepath) and not overwrite
    if not filepath.endswith(ending) or kept or kwargs:
        save(filepath, overwrite=overwrite, **kwargs)
        return
    partial = f"{filepath[: -len(ending)]}.{os.getpid()}.partial{ending}"
    try:
        save(partial, overwrite=True)
        os.replace(partial, filepath)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
