"""Omniglot: 1623 handwritten characters of 50 alphabets, 20 drawings each.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through
probabilistic program induction", Science 2015. MIT licence.
"""

from __future__ import annotations

import os
import pathlib
import zipfile
import zlib

import keras
import numpy as np
import tensorflow as tf

SIDE = 28
DRAWINGS = 20
ARRAY_FILE = "omniglot28.npz"
URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
MD5 = {
    "background": "68d2efa1b9178cc56df9314c21c6e718",
    "evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
# What numpy.load raises on a file that is cut off or holds something else.
DAMAGED_ARRAYS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    zipfile.BadZipFile,
    zlib.error,
)
PARTS = {
    "background": ("background",),
    "evaluation": ("evaluation",),
    "all": ("background", "evaluation"),
}


def load_omniglot(
    path: str | os.PathLike | None = None,
    part: str = "background",
    download: bool = False,
) -> tuple[np.ndarray, list[str]]:
    """Returns Omniglot's drawings, 28x28, and the alphabet of each character.

    Drawings are made small as in the MAML script (Finn et al. 2017), where PIL takes
    the nearest pixel, as it does for every image of one bit a pixel. Characters
    are in order of alphabet, then of character, background before evaluation.

    Args:
        path: str or path, or None. A file `.npz` with the arrays `images`,
            `alphabet`, `alphabet_names` and `is_evaluation`; an official zip, such
            as images_background.zip; or a folder: images_background or
            images_evaluation themselves, or one that holds these, their zips or
            omniglot28.npz. None: the folder that the environment variable
            KERAS_META_DATA names.
        part: `"background"`, `"evaluation"` or `"all"`.
        download: bool. True fetches the official zips (10 and 6 MB) into Keras'
            cache where nothing is found.

    Returns:
        images: uint8 array `(characters, 20, 28, 28)`, ink = 1, paper = 0.
        alphabets: list of str, the alphabet of each character.

    Raises:
        FileNotFoundError: if nothing is there and `download` is False.
        ValueError: if an argument is wrong, or the data are damaged or of another
            kind.

    Example:

    ```python
    images, alphabets = keras_meta.tasks.load_omniglot(part="background", download=True)
    tasks = keras_meta.tasks.FewShotClassification(images, rotations=True)
    ```
    """
    if part not in PARTS:
        raise ValueError(
            f"Argument `part` must be one of {tuple(PARTS)}. Received: part={part!r}."
        )
    if path is None:
        path = os.environ.get("KERAS_META_DATA")
    sources = _find_sources(path, part)
    if not sources:
        if not download:
            raise FileNotFoundError(_not_found(path, part))
        sources = [_download(name) for name in PARTS[part]]
    loaded = [_load_source(source, part) for source in sources]
    images = np.concatenate([images for images, _ in loaded])
    return images, [name for _, names in loaded for name in names]


def _find_sources(path, part):
    """Returns the files or folders to read, in order; [] where one is missing."""
    if path is None or not pathlib.Path(path).exists():
        return []
    path = pathlib.Path(path)
    if path.is_file() or _part_of(path.name):
        return [path]
    if (path / ARRAY_FILE).is_file():
        return [path / ARRAY_FILE]
    sources = []
    for name in PARTS[part]:
        candidates = [path / f"images_{name}", path / f"images_{name}.zip"]
        found = [candidate for candidate in candidates if candidate.exists()]
        sources += found[:1]
    return sources if len(sources) == len(PARTS[part]) else []


def _not_found(path, part):
    names = [ARRAY_FILE]
    for name in PARTS[part]:
        names.append(f"images_{name}/ or images_{name}.zip")
    where = f"in {str(path)!r}" if path else "as KERAS_META_DATA and `path` are not set"
    return (
        f"Omniglot (part={part!r}) was not found {where}. "
        f"Looked for: {', '.join(names)}. Pass `path`, or pass download=True to fetch "
        f"it from {URL}."
    )


def _download(name):
    file_name = f"images_{name}.zip"
    fetched = keras.utils.get_file(
        file_name,
        origin=URL + file_name,
        file_hash=MD5[name],
        hash_algorithm="md5",
        cache_subdir="datasets/omniglot",
    )
    return pathlib.Path(fetched)


def _load_source(source, part):
    if source.suffix == ".npz":
        return _load_arrays(source, part)
    if source.is_dir():
        files = {
            file.relative_to(source.parent).as_posix(): file.read_bytes
            for file in source.rglob("*.png")
        }
        return _load_drawings(source, files, part)
    try:
        with zipfile.ZipFile(source) as archive:
            files = {
                name: lambda name=name: archive.read(name)
                for name in archive.namelist()
                if name.endswith(".png") and not name.startswith("__MACOSX")
            }
            return _load_drawings(source, files, part)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"File {str(source)!r} is not a zip, or is damaged: {error}. "
            "Fetch it again."
        ) from error


def _load_arrays(source, part):
    try:
        with np.load(source, allow_pickle=False) as arrays:
            images = arrays["images"]
            is_evaluation = arrays["is_evaluation"].astype(bool)
            alphabets = arrays["alphabet_names"][arrays["alphabet"]]
    except DAMAGED_ARRAYS as error:
        raise ValueError(
            f"File {str(source)!r} must be an undamaged .npz with the arrays images, "
            f"alphabet, alphabet_names and is_evaluation. Received: {error}."
        ) from error
    shape = (len(is_evaluation), DRAWINGS, SIDE, SIDE)
    if images.dtype != np.uint8 or images.shape != shape or len(alphabets) != shape[0]:
        raise ValueError(
            f"File {str(source)!r} must hold images uint8 (characters, {DRAWINGS}, "
            f"{SIDE}, {SIDE}), and one entry a character in alphabet and "
            f"is_evaluation. Received: {images.dtype} {images.shape}, "
            f"{len(alphabets)} and {len(is_evaluation)} entries."
        )
    wanted = {"background": ~is_evaluation, "evaluation": is_evaluation}
    rows = np.concatenate([np.flatnonzero(wanted[name]) for name in PARTS[part]])
    return images[rows], alphabets[rows].tolist()


def _load_drawings(source, files, part):
    """Returns images and alphabets from PNG files.

    Args:
        source: path, for messages.
        files: dict from `.../images_<part>/alphabet/character/drawing.png` to a
            function that returns the file's bytes.
        part: str.
    """
    characters = {}
    for name in sorted(files):
        *folders, alphabet, character, _ = ("", "", *name.split("/"))
        parts = [found for found in map(_part_of, folders) if found]
        if parts and parts[-1] in PARTS[part]:
            key = (PARTS[part].index(parts[-1]), alphabet, character)
            characters.setdefault(key, []).append(name)
    if not characters:
        raise ValueError(
            f"Nothing of part={part!r} is in {str(source)!r}: there must be files "
            "images_background/<alphabet>/<character>/<drawing>.png, or "
            f"images_evaluation/... Received: {len(files)} PNG files"
            f"{', such as ' + repr(min(files)) if files else ''}."
        )
    images = np.empty((len(characters), DRAWINGS, SIDE, SIDE), np.uint8)
    for row, key in enumerate(sorted(characters)):
        names = characters[key]
        if len(names) != DRAWINGS:
            raise ValueError(
                f"Character {key[1]}/{key[2]} in {str(source)!r} must have "
                f"{DRAWINGS} drawings. Received: {len(names)}."
            )
        for column, name in enumerate(names):
            images[row, column] = _decode(source, name, files[name]())
    return images, [alphabet for _, alphabet, _ in sorted(characters)]


def _part_of(folder):
    """Returns the part that a folder's name tells, or None."""
    for part in PARTS["all"]:
        if folder.startswith(f"images_{part}"):
            return part
    return None


def _decode(source, name, content):
    """Returns uint8 `(28, 28)`, ink = 1, from a PNG whose ink is black."""
    try:
        pixels = tf.io.decode_png(content, channels=1).numpy()[..., 0]
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"Drawing {name!r} in {str(source)!r} is not a PNG, or is damaged. "
            "Fetch the data again."
        ) from error
    # PIL's nearest neighbour: the pixel under the centre of the small pixel.
    rows, columns = (
        ((np.arange(SIDE) + 0.5) * size / SIDE).astype(np.int64)
        for size in pixels.shape
    )
    return (pixels[rows][:, columns] < 128).astype(np.uint8)
