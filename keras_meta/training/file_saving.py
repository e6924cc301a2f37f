"""Files that appear whole or not at all."""

import math
import os
import shutil

ENDINGS = (".weights.h5", ".keras")
# HDF5's own, for groups and names: generous, for it is given back at once.
BYTES_A_VARIABLE = 8_192
BYTES_A_FILE = 65_536


def save_atomically(save, model, filepath, overwrite, kwargs):
    """Calls Keras' `save` or `save_weights` on a file beside, then renames it.

    Args:
        save: function of `(filepath, overwrite=, **kwargs)`.
        model: `keras.Model`, what is saved.
        filepath: str or path. Other than these endings, and a file that exists with
            `overwrite=False`, are left to Keras.
        overwrite: bool.
        kwargs: dict.

    Raises:
        OSError: if there is no room for the file.
    """
    path = str(filepath)
    ending = next((ending for ending in ENDINGS if path.endswith(ending)), None)
    if ending is None or kwargs or (os.path.exists(path) and not overwrite):
        save(filepath, overwrite=overwrite, **kwargs)
        return
    partial = f"{path[: -len(ending)]}.{os.getpid()}.partial{ending}"
    try:
        _check_room(partial, path, _bytes_of(model))
        save(partial, overwrite=True)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _check_room(partial, path, size):
    """Raises OSError where so many bytes do not fit, before HDF5 finds out.

    HDF5 does not survive a write that fails: the whole process may end with it.
    """
    folder = os.path.dirname(os.path.abspath(partial))
    try:
        if hasattr(os, "posix_fallocate"):
            with open(partial, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError("the disk has less room")
    except FileNotFoundError:
        return  # Keras makes the folder, or says what is wrong with it.
    except OSError as error:
        raise OSError(
            error.errno,
            f"The file could not be saved, what was there before stays: {error}. About "
            f"{size} bytes are needed: free some space, or save to another disk",
            path,
        ) from error


def _bytes_of(model):
    """Returns about what a model's file takes, at most."""
    variables = list(model.variables)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        variables += optimizer.variables
    # No variable of Keras takes more than 8 bytes a value.
    values = sum(math.prod(variable.shape) for variable in variables)
    return 8 * values + BYTES_A_VARIABLE * len(variables) + BYTES_A_FILE
