"""Reads and writes `.kmeta` files: one preset, one file.

A `.kmeta` file is a safetensors file whose metadata holds one entry,
`keras_meta_card`: a JSON object, the card. Nothing in it is ever executed or
unpickled. Two digests in the card cover everything that is read:

- `sha256`: over the weights (names, dtypes, shapes and bytes, by name);
- `card_sha256`: over the card without this entry, as sorted JSON.
"""

import hashlib
import importlib.metadata
import json
import os
import secrets
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from keras_meta.presets.card import (
    CARD_KEY,
    MAX_CARD_BYTES,
    SCHEMA_VERSION,
    PresetError,
    card_digest,
    check_card,
    parse_card,
)

SUFFIX = ".kmeta"
MAX_HEADER_BYTES = 2 * MAX_CARD_BYTES
DTYPES = frozenset("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split())


def write_preset(path, tensors, card):
    """Writes tensors and their card to one `.kmeta` file, all or nothing.

    The bytes go to a temporary file in the same folder, are synced to the
    disk, and then take the place of `path` in one step. After any error the
    file that was at `path` is as it was, and no temporary file is left.

    Args:
        path: str or `os.PathLike`, must end in `.kmeta`, in a folder that
            exists.
        tensors: dict of str to NumPy array of any shape, may be empty.
            dtype: float16, float32, float64, an integer or bool; all values
            finite.
        card: dict that JSON can hold (str keys; str, int, finite float, bool,
            None, lists and dicts), up to 10 MB. The keys `schema_version`,
            `sha256`, `created_with` and `card_sha256` are written anew.

    Raises:
        PresetError: if an argument is not as described.
        OSError: if the file cannot be written.

    Example:

    >>> import os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "mine.kmeta")
    >>> rates = np.full((3,), 0.01, "float32")
    >>> write_preset(path, {"theta/alpha": rates}, {"title": "My rates"})
    >>> tensors, card = read_preset(path)
    >>> card["title"], tensors["theta/alpha"].shape
    ('My rates', (3,))
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise PresetError(
            f"Argument `path` must end in '{SUFFIX}'. Received: path={str(path)!r}."
        )
    if not path.parent.is_dir():
        raise PresetError(
            f"The folder {str(path.parent)!r} of argument `path` does not exist. "
            f"Create it first. Received: path={str(path)!r}."
        )
    if path.is_dir():
        raise PresetError(
            f"Argument `path` must name a file. Received the folder path={str(path)!r}."
        )
    tensors = {name: _checked_tensor(name, value) for name, value in tensors.items()}
    if not isinstance(card, dict):
        raise PresetError(
            f"Argument `card` must be a dict. Received: {type(card).__name__}."
        )
    card = {
        **card,
        "schema_version": SCHEMA_VERSION,
        "sha256": tensors_digest(tensors),
        "created_with": _versions(),
    }
    card.pop("card_sha256", None)
    check_card(card, where="Argument `card`")
    card["card_sha256"] = card_digest(card)
    text = json.dumps(card, allow_nan=False)
    if len(text) > MAX_CARD_BYTES:
        raise PresetError(
            f"Argument `card` must take at most {MAX_CARD_BYTES} bytes as JSON: put "
            f"arrays into `tensors`. Received: {len(text)} bytes."
        )
    _replace_file(path, safetensors.numpy.save(tensors, metadata={CARD_KEY: text}))


def read_preset(path):
    """Reads a `.kmeta` file and checks all of it before giving out any of it.

    Args:
        path: str or `os.PathLike` of a file that `write_preset()` wrote.

    Returns:
        `(tensors, card)`: a dict of str to writable NumPy array, and the card,
        a dict. Both digests were compared and all values are finite.

    Raises:
        PresetError: if the file is missing, not a file, empty, truncated,
            damaged, edited, not a preset, or written by a newer keras_meta.
        OSError: if the file exists and cannot be read.

    Example:

    >>> try:
    ...     read_preset("missing.kmeta")
    ... except PresetError as error:
    ...     print(error)
    No preset file at 'missing.kmeta'. Check the path.
    """
    path = Path(path)
    where = f"The preset file {str(path)!r}"
    if not path.exists():
        raise PresetError(f"No preset file at {str(path)!r}. Check the path.")
    if not path.is_file():
        raise PresetError(
            f"{where} is not a regular file but a folder or a device. Pass the path "
            f"of a '{SUFFIX}' file."
        )
    data = path.read_bytes()
    _check_header_size(where, data)
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        # KeyError: a dtype that NumPy has not, such as bfloat16.
        raise PresetError(
            f"{where} is damaged, truncated or not a preset: safetensors says "
            f"{error!r}. Received {len(data)} bytes. Get the file again."
        ) from error
    card = parse_card(where, _card_text(where, data))
    # A view of the file's bytes is read-only and may not be aligned.
    tensors = {name: np.array(value) for name, value in tensors.items()}
    digest = tensors_digest(tensors)
    if digest != card["sha256"]:
        raise PresetError(
            f"The weights in {_lower(where)} are not those that were written: their "
            f"sha256 is {digest}, the card says {card['sha256']}. The file is "
            "damaged. Get it again."
        )
    for name, value in tensors.items():
        _check_finite(f"{where}: tensor {name!r}", value)
    return tensors, card


def tensors_digest(tensors):
    """Computes the sha256 of weights over names, dtypes, shapes and bytes.

    Args:
        tensors: dict of str to NumPy array of any shape and dtype.

    Returns:
        str of 64 hexadecimal digits; the order of the dict does not matter.

    Example:

    >>> import numpy as np
    >>> a, b = np.zeros(2, "float32"), np.ones(3, "float32")
    >>> tensors_digest({"a": a, "b": b}) == tensors_digest({"b": b, "a": a})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        value = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        title = [name, value.dtype.str, list(value.shape)]
        digest.update(json.dumps(title).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _checked_tensor(name, value):
    """Returns `value` as a C-contiguous, native-endian array, or says why not."""
    if not isinstance(name, str) or name in ("", "__metadata__"):
        raise PresetError(
            "Each name in argument `tensors` must be a non-empty str other than "
            f"'__metadata__'. Received: {name!r}."
        )
    if not isinstance(value, np.ndarray):
        raise PresetError(
            f"Tensor {name!r} must be a NumPy array: use "
            "`keras.ops.convert_to_numpy()`. "
            f"Received: {type(value).__name__}."
        )
    if value.dtype.str[1:] not in DTYPES:
        raise PresetError(
            f"Tensor {name!r} must be of a float, integer or bool dtype that NumPy "
            f"knows: cast it, say to float32. Received: dtype={value.dtype}."
        )
    _check_finite(f"Tensor {name!r}", value)
    return value.astype(value.dtype.newbyteorder("="), order="C")


def _check_finite(what, value):
    faults = int(np.count_nonzero(~np.isfinite(value)))
    if faults:
        raise PresetError(
            f"{what} must be finite everywhere. Received: {faults} of {value.size} "
            "values are NaN or infinite. Train again, from a checkpoint before it "
            "diverged."
        )


def _check_header_size(where, data):
    """Refuses a header that is longer than the file or than is ever written."""
    size = int.from_bytes(data[:8], "little") if len(data) >= 8 else None
    if size is None or size > len(data) - 8:
        raise PresetError(
            f"{where} is empty, truncated or not a preset: it ends before its header "
            f"does. Received {len(data)} bytes. Get the file again."
        )
    if size > MAX_HEADER_BYTES:
        raise PresetError(
            f"{where} is not a preset: its header takes {size} bytes, at most "
            f"{MAX_HEADER_BYTES} are read. Get the file again."
        )


def _card_text(where, data):
    """Returns the card's JSON text from a header that safetensors accepted."""
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    if CARD_KEY not in metadata:
        raise PresetError(
            f"{where} is a safetensors file without a '{CARD_KEY}' entry, not a "
            "preset. Write presets with `save_preset()`. "
            f"Received the metadata {sorted(metadata)[:5]}."
        )
    return metadata[CARD_KEY]


def _versions():
    """Returns the versions of what writes a preset; None if not installed."""
    versions = {}
    for name in ("keras_meta", "keras", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _replace_file(path, data):
    """Puts `data` at `path` in one step, or leaves the folder as it was."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # "x": never write into a file that somebody else made.
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # The new name itself lies in the folder's data.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lower(where):
    return where[0].lower() + where[1:]
