"""Learned weights that ship with the package, by the name of an argument's value."""

from keras_meta import presets


def shipped_preset(weights, known, class_name):
    """Returns the `Preset` that an argument `weights` names, or None for None.

    Args:
        weights: None, or a key of `known`.
        known: dict from values of the argument to names of shipped presets.
        class_name: str, for the message.

    Raises:
        ValueError: for a name that there is not.
    """
    if weights is None:
        return None
    if not isinstance(weights, str) or weights not in known:
        raise ValueError(
            f"Argument `weights` must be None or one of {list(known)}. Received: "
            f"weights={weights!r}. Weights in a file are loaded by "
            f"`{class_name}.from_preset(path)`."
        )
    return presets.load(known[weights])
