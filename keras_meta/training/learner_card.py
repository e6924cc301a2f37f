"""What the presets of all learners have in common."""

import math

import keras

from keras_meta.presets import PresetError
from keras_meta.presets.preset import describe_variables
from keras_meta.presets.serialized_object import build_values

# What reads a preset, by the entry that its card has.
READERS = {
    "trainer": "keras_meta.MetaTrainer",
    "matching_network": "keras_meta.learners.MatchingNetwork",
    "optimizer_trainer": "keras_meta.OptimizerTrainer",
}


def learner_card(learner, model, title):
    """Returns the common part of a learner's preset.

    Args:
        learner: `EpisodicModel`.
        model: `keras.Model`, whose weights the preset holds.
        title: str.

    Returns:
        Tuple `(card, initialization, non_trainable)`, see `keras_meta.presets.Preset`.
    """
    card = {
        "title": title,
        "model": keras.saving.serialize_keras_object(model),
        "initialization": describe_variables(model.trainable_variables),
        "non_trainable": describe_variables(model.non_trainable_weights),
        "trained_on": learner.training_facts(),
    }
    if learner.compiled:
        card["compile"] = learner.get_compile_config()
    if learner.last_evaluation:
        # JSON has no NaN: what diverged is null.
        card["evaluation"] = keras.tree.map_structure(
            finite_or_none, learner.last_evaluation
        )
    numpy_of = keras.ops.convert_to_numpy
    return (
        card,
        [numpy_of(v) for v in model.trainable_variables],
        [numpy_of(v) for v in model.non_trainable_weights],
    )


def serialized_reduction(task_reduction):
    """Returns a `task_reduction` as a JSON value.

    Raises:
        PresetError: for a function that could not be found again.
    """
    if isinstance(task_reduction, str):
        return task_reduction
    if not hasattr(task_reduction, "get_config") and not _is_found(task_reduction):
        name = getattr(task_reduction, "__name__", type(task_reduction).__name__)
        raise PresetError(
            "Argument `task_reduction` is a function that a preset or a `.keras` file "
            f"cannot hold. Received: task_reduction={name!r}. Pass an object such as "
            "`keras_meta.training.TrimmedMean(0.1)`; or write the function with `def` "
            "and register it with `keras.saving.register_keras_serializable()`."
        )
    return keras.saving.serialize_keras_object(task_reduction)


def settings_of(preset, key, saved_by, instead):
    """Returns the constructor's settings that a preset's card holds.

    Args:
        preset: `keras_meta.presets.Preset`.
        key: str, the card's entry.
        saved_by: str, the class that writes this entry.
        instead: str, what to call for a preset of an unknown kind.

    Raises:
        PresetError: if the card has no such entry, or it cannot be built.
    """
    config = preset.card.get(key)
    if not isinstance(config, dict):
        for other, reader in READERS.items():
            if other != key and other in preset.card:
                instead = f"`{reader}.from_preset(...)`"
        raise PresetError(
            f"This preset was not saved by a {saved_by}: its card has no `{key}`. "
            f"Received the card keys {sorted(preset.card)}. Use {instead}."
        )
    return build_values(config, f"{saved_by} settings")


def made(cls, *arguments, **settings):
    """Returns `cls(*arguments, **settings)`.

    Raises:
        PresetError: if the card names settings that the class does not have.
    """
    try:
        return cls(*arguments, **settings)
    except TypeError as error:
        raise PresetError(
            "This preset's card names settings that this keras_meta does not have: "
            f"{error}. Upgrade keras_meta."
        ) from error


def restored(learner, preset):
    """Compiles a learner as its preset says, and counts its meta-steps on.

    Args:
        learner: `EpisodicModel`, just made.
        preset: `keras_meta.presets.Preset`.

    Returns:
        The learner.
    """
    compiling = build_values(preset.card.get("compile", {}), "compile settings")
    if compiling:
        learner.compile(**compiling)
    trained_on = preset.card.get("trained_on", {})
    learner.loaded_facts = trained_on
    learner.meta_step.assign(int(trained_on.get("meta_steps", 0)))
    return learner


def finite_or_none(value):
    """Returns a value for JSON, which has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_found(function):
    """Whether Keras finds a function again by its name; it never does a lambda."""
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        return False
    name = keras.saving.get_registered_name(function)
    return keras.saving.get_registered_object(name) is function
