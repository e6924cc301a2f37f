"""Checks the trainer's arguments, before any graph is traced."""

import numbers


def checked_count(name, value):
    """Returns `value` if it is an int >= 1.

    Raises:
        ValueError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"Argument `{name}` must be an int >= 1. Received: {name}={value!r}."
        )
    return int(value)


def checked_choice(name, value, choices):
    """Returns `value` if it is one of `choices`.

    Raises:
        ValueError: otherwise.
    """
    if not any(value is choice or value == choice for choice in choices):
        raise ValueError(
            f"Argument `{name}` must be one of {list(choices)}. "
            f"Received: {name}={value!r}."
        )
    return value


def adapted_variables(model, adapt):
    """Returns, for each trainable variable, whether the inner loop changes it.

    Args:
        model: built `keras.Model`.
        adapt: `"all"`, `"head"`, a function from a `keras.Variable` to bool, or a
            list of bool.

    Raises:
        ValueError: if `adapt` is none of these, or chooses nothing.
    """
    variables = model.trainable_variables
    if isinstance(adapt, (list, tuple)) and len(adapt) == len(variables):
        chosen = [bool(choice) for choice in adapt]
    elif adapt == "all":
        chosen = [True] * len(variables)
    elif adapt == "head":
        head = [layer for layer in model.layers if layer.trainable_variables][-1]
        ids = {id(variable) for variable in head.trainable_variables}
        chosen = [id(variable) in ids for variable in variables]
    elif callable(adapt):
        chosen = [bool(adapt(variable)) for variable in variables]
    else:
        raise ValueError(
            'Argument `adapt` must be "all", "head", a function from a variable to '
            "bool, or a list of bool, one for each trainable variable. "
            f"Received: adapt={adapt!r} for {len(variables)} trainable variables."
        )
    if not any(chosen):
        raise ValueError(
            "Argument `adapt` must choose at least one variable. Received: "
            f"adapt={adapt!r}, which chooses none of "
            f"{[variable.path for variable in variables]}."
        )
    return chosen
