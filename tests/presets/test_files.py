"""Every fault here is really caused: bytes are cut, flipped, or written so."""

import json
import os
import pickle
import signal

import numpy as np
import pytest
import safetensors.numpy

from keras_meta.presets import PresetError
from keras_meta.presets.card import CARD_KEY, MAX_CARD_BYTES, card_digest
from keras_meta.presets.files import (
    MAX_HEADER_BYTES,
    read_preset,
    tensors_digest,
    write_preset,
)
from tests.forked import forked

TENSORS = {
    "theta/b": np.array([[1.5, -2.0]], "float32"),
    "theta/a": np.array(3, "int32"),
    "non_trainable/000": np.array([True, False]),
}
CARD = {"title": "Größe", "evaluation": {"results": {"loss": {"mean": [0.5]}}}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.kmeta"
    write_preset(path, TENSORS, CARD)
    return path


def write_raw(path, card, tensors=None):
    """Writes a preset's file without any check, the digest of the card right."""
    if isinstance(card, dict):
        card = json.dumps({**card, "card_sha256": card_digest(card)})
    metadata = None if card is None else {CARD_KEY: card}
    data = safetensors.numpy.save(TENSORS if tensors is None else tensors, metadata)
    path.write_bytes(data)


def intact_card(tensors=None):
    digest = tensors_digest(TENSORS if tensors is None else tensors)
    return {"schema_version": 1, "sha256": digest, "created_with": {}}


def check_same(tensors, card):
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype
        assert tensors[name].shape == value.shape
    assert {key: card[key] for key in CARD} == CARD


def test_round_trip_keeps_values_dtypes_shapes_and_card(path):
    tensors, card = read_preset(str(path))
    check_same(tensors, card)
    assert card["schema_version"] == 1
    assert card["created_with"]["numpy"] == np.__version__
    tensors["theta/b"][0, 0] = 7.0  # Writable: the file's bytes are not shared.


def test_digest_is_the_documented_one():
    # sha256 of '["w", "<f4", [1]]' and the bytes 00 00 80 3f, by sha256sum.
    expected = "c7d24ef33e20b24e7030fbe12938791c1251720f8587ce3d0fb8b0cd0a57e263"
    assert tensors_digest({"w": np.array([1.0], "float32")}) == expected


def test_layout_in_memory_does_not_matter(tmp_path):
    values = np.arange(6, dtype="float32").reshape(2, 3)
    path = tmp_path / "layout.kmeta"
    for value in (values.T, values.T.astype(">f4")):
        write_preset(path, {"theta/w": value}, {})
        tensors, card = read_preset(path)
        np.testing.assert_array_equal(tensors["theta/w"], [[0, 3], [1, 4], [2, 5]])
        assert card["sha256"] == tensors_digest({"theta/w": values.T.copy()})


def test_same_content_gives_the_same_bytes(path, tmp_path):
    again = tmp_path / "again.kmeta"
    write_preset(again, dict(reversed(TENSORS.items())), CARD)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1.0, np.nan, np.inf]), "'theta/w' must be finite.*2 of 3 values"),
        (np.array([1j]), "'theta/w' must be of a float.*dtype=complex128"),
        (np.array([object()]), "'theta/w' must be of a float.*dtype=object"),
        ([1.0], "'theta/w' must be a NumPy array.*Received: list"),
    ],
)
def test_write_refuses_a_bad_tensor(tmp_path, value, message):
    with pytest.raises(PresetError, match=message):
        write_preset(tmp_path / "bad.kmeta", {"theta/w": value}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "__metadata__", 3])
def test_write_refuses_a_bad_name(tmp_path, name):
    with pytest.raises(PresetError, match="Each name in argument `tensors`"):
        write_preset(tmp_path / "bad.kmeta", {name: np.zeros(1)}, {})


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ([], "`card` must be a dict. Received: list"),
        ({"a": {"b": [np.float32(1)]}}, "Received: card.a.b.0 of type float32"),
        ({"a": float("nan")}, "Received: card.a=nan"),
        ({"a": {1: 2}}, "Received the key 1 in card.a, not a str"),
        ({"title": 3}, "`title` must be a str. Received: title=3"),
        ({"optimizer": {"class_name": "A"}}, "with `class_name` and `config`"),
        ({"parameters": [{"path": "w", "shape": [-1]}]}, r"parameters\[0\]="),
        ({"a": "x" * (MAX_CARD_BYTES + 1)}, "at most 10000000 bytes as JSON"),
    ],
)
def test_write_refuses_a_bad_card(tmp_path, card, message):
    with pytest.raises(PresetError, match=message):
        write_preset(tmp_path / "bad.kmeta", {}, card)
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_a_bad_path(tmp_path):
    with pytest.raises(PresetError, match=r"must end in '.kmeta'. Received: path="):
        write_preset(tmp_path / "mine.npz", {}, {})
    with pytest.raises(PresetError, match="does not exist. Create it first"):
        write_preset(tmp_path / "none" / "mine.kmeta", {}, {})
    (tmp_path / "folder.kmeta").mkdir()
    with pytest.raises(PresetError, match="Received the folder"):
        write_preset(tmp_path / "folder.kmeta", {}, {})


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch, call):
    def fail(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="disk full"):
            write_preset(path, {}, {"title": "New"})
    assert [file.name for file in path.parent.iterdir()] == ["mine.kmeta"]
    check_same(*read_preset(path))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_killed_in_the_middle_of_a_write_leaves_the_old_file(path, call):
    program = (
        "import os, signal\n"
        "from keras_meta.presets.files import write_preset\n"
        f"os.{call} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_preset({str(path)!r}, {{}}, {{'title': 'New'}})\n"
    )
    assert forked(exec, program, {}) == (-signal.SIGKILL, "")
    check_same(*read_preset(path))
    write_preset(path, TENSORS, {**CARD, "more": 1})  # What it left is no hindrance.
    assert read_preset(path)[1]["more"] == 1


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(PresetError, match=r"No preset file at '.*none.kmeta'. Check"):
        read_preset(tmp_path / "none.kmeta")
    with pytest.raises(PresetError, match="is not a regular file but a folder"):
        read_preset(tmp_path)


def test_truncated_anywhere(path):
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(PresetError, match=f"truncated.*Received {size} bytes"):
            read_preset(path)


def test_any_flipped_byte_is_found(path):
    data = path.read_bytes()
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(PresetError, match="mine.kmeta"):
            read_preset(path)


def test_foreign_files(path):
    write_raw(path, None)
    with pytest.raises(PresetError, match="without a 'keras_meta_card' entry"):
        read_preset(path)
    path.write_bytes(pickle.dumps({"a": 1}) * 100)
    with pytest.raises(PresetError, match="truncated or not a preset"):
        read_preset(path)


def test_dtype_that_numpy_has_not(path):
    header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(PresetError, match="safetensors says KeyError.*BF16"):
        read_preset(path)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("not JSON", "not JSON or is nested too deeply"),
        ("[" * 200_000, "not JSON or is nested too deeply"),
        ('{"a":' + "[" * 100 + "]" * 100 + "}", "more than 64 levels at card.a.0.0"),
        ("9" * 10_000, "not JSON or is nested too deeply"),
        ("[1]", "not a JSON object. Received: list"),
        ({}, "without `schema_version`"),
        (
            {**intact_card(), "schema_version": "1"},
            "must be an int.*schema_version='1'",
        ),
        ({**intact_card(), "schema_version": True}, "must be an int"),
        ({**intact_card(), "schema_version": 0}, "must be >= 1"),
        (
            {**intact_card(), "schema_version": 2},
            "newer keras_meta: upgrade keras_meta",
        ),
        ({"schema_version": 1, "sha256": ""}, "without `created_with`"),
        ({**intact_card(), "sha256": "0" * 64}, "not those that were written"),
        (
            {**intact_card(), "model": []},
            r"`model` must be an object. Received: model=",
        ),
        (json.dumps(intact_card()), "edited or damaged.*card_sha256=None"),
        ('{"a": NaN}', "finite JSON values only. Received: card.a=nan"),
        ("x" * (MAX_CARD_BYTES + 1), "has a card of 10000001 bytes"),
    ],
)
def test_read_refuses_a_bad_card(path, card, message):
    write_raw(path, card)
    with pytest.raises(PresetError, match=message):
        read_preset(path)


def test_edited_card(path):
    data = path.read_bytes()
    edited = data.replace(b"[0.5]", b"[0.1]")
    assert edited != data
    path.write_bytes(edited)
    with pytest.raises(PresetError, match="edited or damaged"):
        read_preset(path)


def test_weights_that_are_not_finite(path):
    tensors = {"theta/w": np.array([np.nan], "float32")}
    write_raw(path, intact_card(tensors), tensors)
    with pytest.raises(PresetError, match="tensor 'theta/w' must be finite"):
        read_preset(path)


def test_huge_header_is_not_parsed(path):
    size = MAX_HEADER_BYTES + 1
    path.write_bytes(size.to_bytes(8, "little") + b"{" * size)
    with pytest.raises(PresetError, match="header takes 20000001 bytes"):
        read_preset(path)
