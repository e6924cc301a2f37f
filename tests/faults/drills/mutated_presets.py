"""Presets' files that were damaged, or made up by somebody who means harm."""

import json

import keras
import numpy as np

import keras_meta
from keras_meta.presets import PresetError, load
from keras_meta.presets.card import CARD_KEY, card_digest
from keras_meta.presets.files import read_preset
from keras_meta.presets.preset import Preset, describe_variables
from tests.faults.drills.execution import nothing_executed
from tests.faults.drills.mutation import BYTES, SPLICES, damaged, drilled, spliced
from tests.faults.drills.outcome import Drill, bounded_memory, check_clear

MEBIBYTES = 512  # A claim of terabytes would take more.
KINDS = (PresetError,)


def preset_file(folder):
    """Writes a preset with an optimizer and a model; returns its path."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="only")])
    optimizer = keras_meta.MetaSGD(seed=0)
    optimizer.build(model.trainable_variables)
    described = describe_variables(model.trainable_variables)
    preset = Preset(
        {
            "title": "Drill",
            "optimizer": keras.saving.serialize_keras_object(optimizer),
            "model": keras.saving.serialize_keras_object(model),
            "parameters": described,
            "initialization": described,
        },
        theta=optimizer.theta_values(),
        initialization=[np.array(value) for value in model.trainable_variables],
    )
    path = folder / "drill.kmeta"
    preset.save(path)
    return path


def damaged_presets(folder, count):
    """Damages bytes of a preset's file: it is told, or what is read is right."""
    drill = Drill("`.kmeta` file: bytes flipped, cut, put in, moved")
    path = preset_file(folder)
    data, expected = path.read_bytes(), read_preset(path)

    @drilled(count, mutation=BYTES)
    def run(mutation):
        path.write_bytes(damaged(data, mutation))
        read = _read(path)
        if read is None:
            drill.record("one clear error")
        else:
            _check_same(read, expected)
            drill.record("read as it was written")

    run()
    return drill


def forged_presets(folder, count):
    """Splices a preset's card, with digests that are right, and builds from it."""
    drill = Drill("`.kmeta` file: its card or header spliced, digests forged")
    path = preset_file(folder)
    size, header, weights = _parts(path.read_bytes())
    card = json.loads(header["__metadata__"][CARD_KEY])

    @drilled(count, splice=SPLICES, of_card=...)
    def run(splice, of_card: bool):
        if of_card:
            text = _signed(spliced(card, splice))
            text = json.dumps({**header, "__metadata__": {CARD_KEY: text}})
        else:
            text = spliced(header, splice)
        path.write_bytes(_whole(text, weights))
        read = _read(path)
        if read is None:
            drill.record("one clear error")
            return
        assert not of_card or read[1] == json.loads(_signed(spliced(card, splice)))
        drill.record(_build(path))

    run()
    return drill


def _read(path):
    """Returns what a file gives, or None after one clear error."""
    try:
        with bounded_memory(MEBIBYTES), nothing_executed():
            return read_preset(path)
    except PresetError as error:
        check_clear(error, path.name, KINDS)
        return None


def _build(path):
    outcome = "built as the card says"
    with nothing_executed():
        try:
            preset = load(path)
        except PresetError as error:
            check_clear(error, path.name, KINDS)
            return "one clear error"
        for make in (preset.optimizer, preset.model):
            try:
                with bounded_memory(MEBIBYTES):
                    make()
            except ValueError as error:
                check_clear(error, "", (PresetError, ValueError))
                outcome = "one clear error"
    return outcome


def _check_same(read, expected):
    (tensors, card), (right_tensors, right_card) = read, expected
    assert card == right_card
    assert tensors.keys() == right_tensors.keys()
    for name, value in right_tensors.items():
        assert tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(tensors[name], value)


def _parts(data):
    size = int.from_bytes(data[:8], "little")
    return size, json.loads(data[8 : 8 + size]), data[8 + size :]


def _whole(header, weights):
    header = header.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + weights


def _signed(text):
    """Returns a card's text with the digest that it should have, if it is a card."""
    try:
        card = json.loads(text)
        digest = card_digest(card)
    except (ValueError, RecursionError, AttributeError):
        return text
    return f'{text[:-1].rstrip()}, "card_sha256": {json.dumps(digest)}}}'
