"""Ranges that tasks draw their numbers from."""

import numbers

import numpy as np


def checked_range(name, value, positive=False):
    """Returns `(low, high)` as floats; a single number is both.

    Args:
        name: str, the argument's name, for the message.
        value: number, or pair of numbers.
        positive: bool, whether the low end must be above 0.

    Raises:
        ValueError: for anything else.
    """
    pair = (value, value) if isinstance(value, numbers.Real) else value
    try:
        low, high = (float(end) for end in pair)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Argument `{name}` must be a number or a pair (low, high). "
            f"Received: {name}={value!r}."
        ) from error
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(
            f"Argument `{name}` must be finite, with low <= high. "
            f"Received: {name}={value!r}."
        )
    if positive and low <= 0.0:
        raise ValueError(
            f"Argument `{name}` must be above 0. Received: {name}={value!r}."
        )
    return low, high
