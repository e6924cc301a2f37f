"""How a matching network becomes a preset and a preset a matching network."""

import keras

from keras_meta.presets import Preset, PresetError
from keras_meta.training.learner_card import (
    learner_card,
    made,
    restored,
    serialized_reduction,
    settings_of,
)

CARD_KEY = "matching_network"


def learner_config(learner):
    """Returns the learner's arguments but for the encoder, as JSON values."""
    return {
        "metric": learner.metric,
        "scale": learner.scale,
        "full_context": learner.full_context,
        "task_reduction": serialized_reduction(learner.task_reduction),
        "batch_statistics": learner.batch_statistics,
        "seed": learner.seed,
    }


def save(learner, path, title=None):
    """Writes the learner's preset, if it could be loaded again.

    Raises:
        PresetError: what loading or storing it would raise; nothing is written.
    """
    preset = _preset_of(learner, title)
    learner_of(type(learner), preset)
    preset.save(path)


def learner_of(cls, preset):
    """Returns the learner that a preset was saved from, with what it learned.

    Raises:
        PresetError: if the preset was not saved by a matching network.
    """
    config = settings_of(
        preset,
        CARD_KEY,
        "MatchingNetwork",
        "`keras_meta.MetaTrainer.from_preset(...)` for a trainer's",
    )
    learner = made(cls, preset.model(), **config)
    names = _context_names(learner)
    if set(names) != set(preset.theta):
        raise PresetError(
            f"This preset must hold the full-context weights {sorted(names)}. "
            f"Received: {sorted(preset.theta)}."
        )
    for name, variable in names.items():
        value = preset.theta[name]
        if value.shape != tuple(variable.shape):
            raise PresetError(
                f"The preset's {name!r} must have the shape {tuple(variable.shape)}. "
                f"Received: {value.shape}."
            )
        variable.assign(value)
    return restored(learner, preset)


def _preset_of(learner, title):
    kind = "Matching" if learner.metric == "cosine" else "Prototypical"
    card, initialization, non_trainable = learner_card(
        learner, learner.encoder, title or f"{kind} network"
    )
    theta = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in _context_names(learner).items()
    }
    card[CARD_KEY] = learner_config(learner)
    return Preset(card, theta, initialization, non_trainable)


def _context_names(learner):
    context = learner.model.context
    if context is None:
        return {}
    return {f"context/{i:03d}": v for i, v in enumerate(context.weights)}
