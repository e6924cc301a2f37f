"""Builds the optimizer or model that a card describes, and nothing else.

A card may come from anybody. Keras looks a class up by the module and name
that a config gives; here every name in the config is judged first: Keras' own
building blocks pass, and classes that this process registered with
`keras.saving.register_keras_serializable()`. No module is imported because a
card names it, no lambda is rebuilt, no file is opened.
"""

import copy

import keras

from keras_meta.presets.card import PresetError
from keras_meta.presets.later_settings import for_this_keras
from keras_meta.presets.model_sizes import built_within

# Values that Keras wraps into `class_name` and `config`; all are plain data.
DATA_CLASSES = frozenset(
    "__keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__".split()
)
# Where Keras' building blocks live: what is exported, and what is not.
KERAS_MODULES = (
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.losses",
    "keras.metrics",
    "keras.models",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.random",
    "keras.regularizers",
)
KERAS_PRIVATE = ("keras.src.layers.", "keras.src.models.", "keras.src.ops.")
# These run code or read files that a config names.
KERAS_REFUSED = frozenset(
    "FlaxLayer IndexLookup IntegerLookup JaxLayer Lambda StringLookup TFSMLayer "
    "TextVectorization TorchModuleWrapper".split()
)
MAX_REASON = 400  # Characters.


def build_optimizer(serialized, overrides):
    """Builds a fresh optimizer from its serialized form.

    Args:
        serialized: dict, what `keras.saving.serialize_keras_object(optimizer)`
            gave. Its class must be registered in this process.
        overrides: dict of config key to a value of your own; the keys must be
            keys of the config.

    Returns:
        An object of the registered class.

    Raises:
        PresetError: if the class is not registered, if the config names
            something that is refused, or if building fails.
        ValueError: if a key of `overrides` is not in the config.
    """
    name = serialized.get("registered_name", serialized["class_name"])
    cls = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    if not isinstance(cls, type) or not callable(getattr(cls, "set_theta", None)):
        raise PresetError(
            "The preset's optimizer must be a learned optimizer that is registered "
            "with `keras.saving.register_keras_serializable()`. Import the module "
            f"that defines it first. Received: registered_name={name!r}, "
            f"class_name={serialized['class_name']!r}."
        )
    unknown = sorted(set(overrides) - set(serialized["config"]))
    if unknown:
        raise ValueError(
            f"The config of {name!r} has no key {', '.join(map(repr, unknown))}. "
            f"Valid keys: {', '.join(sorted(serialized['config']))}. "
            f"Received: {sorted(overrides)}."
        )
    _check_names(serialized)
    serialized = copy.deepcopy(serialized)
    serialized["config"] |= overrides
    return _deserialize(serialized, "optimizer")


def build_model(serialized, num_stored):
    """Builds a model, with new weights, from its serialized form.

    Args:
        serialized: dict, what `keras.saving.serialize_keras_object(model)` gave.
        num_stored: int, the values that are stored for its weights: no more memory
            is taken, but for a few.

    Returns:
        A `keras.Model`.

    Raises:
        PresetError: if the config names something that is refused, if building
            fails, if the weights are larger than what is stored, or if the object is
            not a model.
    """
    _check_names(serialized)
    model = built_within(
        lambda: _deserialize(copy.deepcopy(serialized), "model"), num_stored
    )
    if not isinstance(model, keras.Model):
        raise PresetError(
            "The preset's `model` must describe a `keras.Model`. "
            f"Received: {type(model).__name__}."
        )
    return model


def build_values(serialized, what):
    """Builds every serialized object in a nest of JSON values.

    Args:
        serialized: dict, such as the arguments of a constructor.
        what: str, names it in messages.

    Returns:
        The dict, with the objects in their places.

    Raises:
        PresetError: if the config names something that is refused, or if building
            fails.
    """
    _check_names(serialized)
    try:
        return keras.saving.deserialize_keras_object(
            for_this_keras(copy.deepcopy(serialized)), safe_mode=True
        )
    # Whatever a constructor raises on a bad config, the caller gets one error.
    except Exception as error:
        raise PresetError(
            f"Could not build the preset's {what}: {_reason(error)} If an object "
            "is your own, register it with "
            "`keras.saving.register_keras_serializable()`, and import its module first."
        ) from error


def _deserialize(serialized, what):
    try:
        return keras.saving.deserialize_keras_object(
            for_this_keras(serialized), safe_mode=True
        )
    # Whatever a constructor raises on a bad config, the caller gets one error.
    except Exception as error:
        raise PresetError(
            f"Could not build the preset's {what} {serialized['class_name']!r} from "
            f"its config: {_reason(error)} Get the file again, or use the Keras that "
            "its card's `created_with` names."
        ) from error


def _reason(error):
    """Returns what an error says at its root: Keras puts a config before it."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    if len(text) > MAX_REASON:
        text = f"{text[:MAX_REASON]}..."
    return f"{type(error).__name__}: {text}{'' if text.endswith('.') else '.'}"


def _check_names(value):
    """Raises PresetError at the first name in a config that may not be built."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            # An old format leaves out the `config`; the name is judged all the same.
            if "class_name" in value and not _allowed(value):
                raise PresetError(
                    "The preset names an object that is never built from a preset. "
                    "Keras' own layers, initializers and the like are built (but none "
                    "that runs code or reads files, such as Lambda), and classes "
                    "registered with `keras.saving.register_keras_serializable()`: "
                    "if this one is yours, register it and import its module first. "
                    f"Received: module={value.get('module')!r}, "
                    f"class_name={value['class_name']!r}."
                )
            todo += value.values()
        elif isinstance(value, (list, tuple)):
            todo += value


def _allowed(value):
    name, module = value["class_name"], value.get("module")
    if not isinstance(name, str):
        return False
    if name in DATA_CLASSES:
        return True
    if name == "function":
        return module == "builtins" or _is_registered(value.get("config"))
    # The same look-up as in Keras: a null is not "take the class's name".
    if _is_registered(value.get("registered_name", name)):
        return True
    # Keras' classes start with a capital; its functions are not for configs.
    if not name.isidentifier() or not name[0].isupper() or name in KERAS_REFUSED:
        return False
    # No module: an old config, that Keras looks up among its own building blocks.
    if module is None or module in KERAS_MODULES:
        return True
    return isinstance(module, str) and module.startswith(KERAS_PRIVATE)


def _is_registered(name):
    return (
        isinstance(name, str) and keras.saving.get_registered_object(name) is not None
    )
