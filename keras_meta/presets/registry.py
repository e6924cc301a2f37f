"""Finds presets: those shipped in the package by name, others by path."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

from keras_meta.presets.files import SUFFIX, PresetError
from keras_meta.presets.preset import Preset


def load(name_or_path: str | os.PathLike) -> Preset:
    """Loads a preset, shipped (by its name) or your own (by its path).

    Args:
        name_or_path: str without a path separator and without `.kmeta`: the
            name of a shipped preset, see `list_presets()`. Any other str, or an
            `os.PathLike`: the path of a `.kmeta` file.

    Returns:
        A `Preset`.

    Raises:
        PresetError: if there is no such preset, or if it is not intact.

    Example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "mine.kmeta")
    >>> Preset({"title": "Nothing learned"}).save(path)
    >>> load(path).card["title"]
    'Nothing learned'
    """
    preset = Preset.from_file(find_preset(name_or_path))
    preset.source = str(name_or_path)
    return preset


def list_presets() -> list[str]:
    """Lists the names of the presets that ship in the package.

    Returns:
        list of str, sorted, each an argument for `load()`; may be empty.

    Example:

    >>> all(load(name).card["title"] for name in list_presets())
    True
    """
    folder = _data_folder()
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if path.is_file())


def find_preset(name_or_path):
    """Returns the path of a preset's file; see `load()`.

    Args:
        name_or_path: str or `os.PathLike`, as for `load()`.

    Returns:
        `pathlib.Path`. Of a shipped name, the file exists.

    Raises:
        PresetError: if no shipped preset has this name.

    Example:

    >>> find_preset("folder/mine.kmeta").name
    'mine.kmeta'
    """
    if isinstance(name_or_path, os.PathLike):
        return Path(name_or_path)
    if not isinstance(name_or_path, str) or not name_or_path:
        raise PresetError(
            "Argument `name_or_path` must be a non-empty str or a path. "
            f"Received: name_or_path={name_or_path!r}."
        )
    separators = [mark for mark in ("/", os.sep, os.altsep) if mark]
    if name_or_path.endswith(SUFFIX) or any(m in name_or_path for m in separators):
        return Path(name_or_path)
    names = list_presets()
    if name_or_path not in names and Path(name_or_path).is_file():
        raise PresetError(
            f"The file {name_or_path!r} is not a preset: the name of a preset's file "
            f"ends in '{SUFFIX}'."
        )
    if name_or_path not in names and Path(name_or_path).is_dir():
        raise PresetError(
            f"{name_or_path!r} is a folder, no preset. Pass the path of a file whose "
            f"name ends in '{SUFFIX}'."
        )
    if name_or_path not in names:
        raise PresetError(
            f"No shipped preset has the name {name_or_path!r}. "
            f"Shipped: {', '.join(names) or 'none'}. For a file of your own, pass its "
            f"path: it ends in '{SUFFIX}' or has a folder, such as "
            f"'./{name_or_path}{SUFFIX}'."
        )
    return _data_folder() / f"{name_or_path}{SUFFIX}"


def _data_folder():
    return Path(str(importlib.resources.files("keras_meta.presets"))) / "data"
