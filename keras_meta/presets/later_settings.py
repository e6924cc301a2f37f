"""Settings that Keras got later: a config that does not use them is read without."""

import inspect

import keras

HOMES = {
    "keras.initializers": keras.initializers,
    "keras.layers": keras.layers,
}
# What Keras 3.13 and later write although nobody asked for it, if it is not null.
LATER_DEFAULTS = {
    ("BatchNormalization", "renorm"): False,
    ("BatchNormalization", "renorm_momentum"): 0.99,
}


def for_this_keras(value):
    """Takes settings that this Keras does not know out of Keras' own objects.

    A newer Keras writes `"input_axes": null` into an initializer's config, say, and an
    older one refuses the name. Where such a setting is null, or as in
    `LATER_DEFAULTS`, it says the same as no setting; any other value is left, and
    Keras refuses it.

    Args:
        value: nest of JSON values, changed in place.

    Returns:
        The same nest.

    Example:

    >>> config = {"seed": None, "of_a_later_keras": None}
    >>> initializer = {"module": "keras.initializers", "config": config,
    ...     "class_name": "GlorotUniform"}
    >>> for_this_keras(initializer)["config"]
    {'seed': None}
    """
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            cls = _keras_class(item)
            if cls is not None:
                known = _settings_of(cls)
                for name, setting in list(item["config"].items()):
                    default = LATER_DEFAULTS.get((cls.__name__, name))
                    if name not in known and (setting is None or setting == default):
                        del item["config"][name]
            todo += item.values()
        elif isinstance(item, (list, tuple)):
            todo += item
    return value


def _keras_class(item):
    """Returns Keras' class that a serialized object names, or None."""
    module, name = item.get("module"), item.get("class_name")
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    cls = getattr(HOMES.get(module), name, None)
    is_config = isinstance(item.get("config"), dict)
    return cls if isinstance(cls, type) and is_config else None


def _settings_of(cls):
    """Returns the names that a class and its bases take."""
    return {
        name for c in cls.__mro__ for name in inspect.signature(c.__init__).parameters
    }
