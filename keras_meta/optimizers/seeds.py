"""Seeds: given, or drawn and kept."""

import random


def draw_seed():
    """Returns a seed, an int in [0, 2**31), drawn as Keras draws those of layers.

    So `keras.utils.set_random_seed` decides on it.
    """
    return random.randrange(2**31)


def checked_seed(seed):
    """Returns `seed` if it is an int >= 0, else raises ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(
            f"Argument `seed` must be an int >= 0 or None. Received: seed={seed!r}."
        )
    return seed
