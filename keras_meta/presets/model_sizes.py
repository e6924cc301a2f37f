"""Keeps a model whose config claims huge layers from taking the memory for them."""

import math

import keras
from keras.src.backend.common import global_state

from keras_meta.presets.card import PresetError

WAITING = "uninitialized_variables"  # Where Keras notes what it has yet to allocate.
# States of random generators and the like, which no preset stores.
MAX_UNSTORED = 10_000


def built_within(build, num_stored):
    """Builds a model whose weights are no more than a preset has stored.

    The model is first built without its weights' memory: Keras then knows only their
    shapes. What cannot be built so (a stateful RNN) is built as usual, if nothing up
    to there was too large.

    Args:
        build: function without arguments that returns a new model.
        num_stored: int, the values in the preset's arrays.

    Returns:
        What `build()` returns.

    Raises:
        PresetError: if the model has more values than are stored.
    """
    before = global_state.get_global_attribute(WAITING)
    try:
        with keras.StatelessScope(initialize_variables=False):
            _forget_waiting([])
            try:
                build()
            except PresetError:
                # Built again below: whoever fails there, too, says why.
                complete = False
            else:
                complete = True
            waiting = global_state.get_global_attribute(WAITING)
            sizes = [math.prod(map(int, variable.shape)) for variable in waiting]
    finally:
        _forget_waiting(before)
    if sum(sizes) > num_stored + MAX_UNSTORED:
        so_far = "" if complete else " so far"
        raise PresetError(
            f"The preset's model needs {sum(sizes)} values{so_far}, one variable of "
            f"{max(sizes)}, but the preset stores {num_stored}: its card is wrong, and "
            "the model was not built. Get the file again."
        )
    return build()


def _forget_waiting(variables):
    global_state.set_global_attribute(WAITING, variables)
