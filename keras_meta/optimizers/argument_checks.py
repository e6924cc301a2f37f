"""Checks of the optimizers' arguments."""

import math
import numbers

import keras


def checked_count(name, value, lowest=1):
    """Returns `value` if it is an int >= `lowest`, else raises ValueError."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or value < lowest:
        raise ValueError(
            f"Argument `{name}` must be an int >= {lowest}. Received: {name}={value!r}."
        )
    return int(value)


def checked_flag(name, value):
    """Returns `value` if it is a bool, else raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError(
            f"Argument `{name}` must be True or False. Received: {name}={value!r}."
        )
    return value


def checked_number(name, value, lowest, end, low=True):
    """Returns `value` as a float if it is a number in its range.

    Args:
        name: str, the argument's name, for the message.
        value: what the caller passed.
        lowest: float, the lower end.
        end: float, the upper end, not included.
        low: bool, whether `lowest` itself is allowed.

    Raises:
        ValueError: otherwise.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if number and lowest <= value < end and (low or value > lowest):
        return float(value)
    if math.isinf(end):
        wanted = f"finite and {'>=' if low else '>'} {lowest:g}"
    else:
        wanted = f"in {'[' if low else '('}{lowest:g}, {end:g})"
    raise ValueError(f"Argument `{name}` must be {wanted}. Received: {name}={value!r}.")


def check_real_variables(variables, class_name):
    """Raises ValueError unless there are variables, of real numbers and not empty."""
    variables = list(variables)
    if not variables:
        raise ValueError(
            f"A {class_name} needs trainable variables, and this model has none. "
            "Received: an empty list. Build the model, and make layers trainable, "
            "before it is compiled."
        )
    for variable in variables:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if "float" not in dtype:
            raise ValueError(
                f"A {class_name} trains variables of real numbers only. Received: "
                f"{getattr(variable, 'path', variable.name)!r} of dtype {dtype}."
            )
        if 0 in tuple(variable.shape):
            raise ValueError(
                f"A {class_name} cannot train a variable without entries. Received: "
                f"{getattr(variable, 'path', variable.name)!r} of shape "
                f"{tuple(variable.shape)}. Set its `trainable` to False."
            )
