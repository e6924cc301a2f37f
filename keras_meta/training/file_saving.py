"""Files that appear whole or not at all."""

import errno
import math
import os
import shutil

import tensorflow as tf

ENDINGS = (".weights.h5", ".keras")
# HDF5's own, for groups and names: generous, for it is given back at once.
BYTES_A_VARIABLE = 8_192
BYTES_A_FILE = 65_536
# What file systems say that cannot reserve room.
CANNOT_RESERVE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


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
    # What a link points to is replaced, not the link.
    whole = os.path.realpath(path)
    partial = f"{whole.removesuffix(ending)}.{os.getpid()}.partial{ending}"
    try:
        _check_room(partial, path, _bytes_of(model))
        save(partial, overwrite=True)
        if os.path.exists(whole):
            shutil.copymode(whole, partial)
        os.replace(partial, whole)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _check_room(partial, path, size):
    """Raises OSError where so many bytes do not fit, before HDF5 finds out.

    HDF5 does not survive a write that fails: the whole process may end with it.
    """
    folder = os.path.dirname(os.path.abspath(partial))
    try:
        if not _reserved(partial, size) and shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except FileNotFoundError:
        return  # Keras makes the folder, or says what is wrong with it.
    except OSError as error:
        raise OSError(
            error.errno,
            f"The file could not be saved, what was there before stays: {error}. About "
            f"{size} bytes are needed: free some space, or save to another disk",
            path,
        ) from error


def _reserved(partial, size):
    """Reserves room without writing it; returns False where that cannot be done."""
    if not hasattr(os, "posix_fallocate"):
        return False
    with open(partial, "wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in CANNOT_RESERVE:
                return False
            raise
    return True


def _bytes_of(model):
    """Returns about what a model's file takes, at most."""
    variables = list(model.variables)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        variables += optimizer.variables
    values = sum(
        tf.as_dtype(variable.dtype).size * math.prod(variable.shape)
        for variable in variables
    )
    return values + BYTES_A_VARIABLE * len(variables) + BYTES_A_FILE
