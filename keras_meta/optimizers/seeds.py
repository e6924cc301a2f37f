"""Seeds: given, or drawn and kept."""

import numpy as np


def draw_seed():
    """Returns a fresh seed, an int in [0, 2**31), from the system's entropy."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def checked_seed(seed):
    """Returns `seed` if it is an int >= 0, else raises ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(
            f"Argument `seed` must be an int >= 0 or None. Received: seed={seed!r}."
        )
    return seed
