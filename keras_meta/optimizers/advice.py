"""Warnings of settings that work and are hardly what is meant."""

import warnings

LIKE_A_RATE = 0.01  # A factor this small was probably meant for Adam.


def warn_of_adams_rate(factor):
    """Warns if what multiplies learned steps looks like a rate that suits Adam."""
    if isinstance(factor, float) and 0.0 < factor <= LIKE_A_RATE:
        warnings.warn(
            "Argument `learning_rate` multiplies the learned step, which has Adam's "
            "0.001 in it: leave it out, or pass 1.0. Received: "
            f"learning_rate={factor}.",
            stacklevel=3,
        )


def warn_of_end(total_steps, step):
    """Warns that a run went on beyond its horizon."""
    warnings.warn(
        f"This MetaAdam was made for total_steps={total_steps}, and the run went on "
        f"beyond them (step {step}): rates stay as small as at the end. Pass the "
        "number of batches of the whole run, or leave `total_steps` out; for a second "
        "`fit` compile with a new MetaAdam.",
        stacklevel=3,
    )
