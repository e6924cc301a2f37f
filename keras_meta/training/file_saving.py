"""Files that appear whole or not at all."""

import os

ENDINGS = (".weights.h5", ".keras")


def save_atomically(save, filepath, overwrite, kwargs):
    """Calls Keras' `save` or `save_weights` on a file beside, then renames it.

    Args:
        save: function of `(filepath, overwrite=, **kwargs)`.
        filepath: str or path. Other than these endings, and a file that exists with
            `overwrite=False`, are left to Keras.
        overwrite: bool.
        kwargs: dict.
    """
    path = str(filepath)
    ending = next((ending for ending in ENDINGS if path.endswith(ending)), None)
    if ending is None or kwargs or (os.path.exists(path) and not overwrite):
        save(filepath, overwrite=overwrite, **kwargs)
        return
    partial = f"{path[: -len(ending)]}.{os.getpid()}.partial{ending}"
    try:
        save(partial, overwrite=True)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
