import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.presets import Preset, PresetError, list_presets, load, registry


@pytest.fixture
def shipped(tmp_path, monkeypatch, preset):
    monkeypatch.setattr(registry, "_data_folder", lambda: tmp_path)
    for name in ("b-second", "a-first"):
        preset.save(tmp_path / f"{name}.kmeta")
    (tmp_path / "README.txt").write_text("not a preset")
    return tmp_path


def test_lists_and_loads_what_ships(shipped):
    assert list_presets() == ["a-first", "b-second"]
    assert load("a-first").card["title"] == "Tiny"


def test_data_folder_lies_in_the_package():
    folder = registry._data_folder()
    assert folder.name == "data"
    assert (folder.parent / "registry.py").is_file()


def test_every_shipped_preset_is_intact_and_small():
    for name in list_presets():
        assert load(name).card["title"]
        assert registry.find_preset(name).stat().st_size < 1_000_000


def test_unknown_name_lists_what_ships(shipped):
    message = "name 'c'. Shipped: a-first, b-second. .*such as './c.kmeta'"
    with pytest.raises(PresetError, match=message):
        load("c")


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_loads_a_path(shipped, as_path):
    assert load(as_path(shipped / "a-first.kmeta")).card["title"] == "Tiny"


def test_file_name_without_folder_is_a_path(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    assert load("b-second.kmeta").card["title"] == "Tiny"
    with pytest.raises(PresetError, match="No preset file at 'c.kmeta'"):
        load("c.kmeta")


@pytest.mark.parametrize("wrong", ["", None, 3])
def test_refuses_what_is_no_name(wrong):
    with pytest.raises(PresetError, match="must be a non-empty str or a path"):
        load(wrong)


def test_a_file_that_is_no_preset_is_named(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    with pytest.raises(PresetError, match="'README.txt' is not a preset: .*'.kmeta'.$"):
        load("README.txt")


def test_a_folder_is_called_one(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    with pytest.raises(PresetError, match=r"'\.' is a folder, no preset\..*'.kmeta'.$"):
        load(".")


@pytest.mark.parametrize("name", ["a-first", "folder/a-first.kmeta"])
def test_an_optimizer_says_what_load_read(tmp_path, monkeypatch, name):
    """In its messages; the file's card names no preset."""
    monkeypatch.setattr(registry, "_data_folder", lambda: tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    optimizer = keras_meta.MetaSGD(seed=0)
    card = {"optimizer": keras.saving.serialize_keras_object(optimizer)}
    theta = {"rate/000": np.ones(2, "float32")}
    Preset(card, theta=theta).save("folder/a-first.kmeta")
    optimizer = load(name).optimizer()
    assert optimizer.preset == name
    assert load(name).card["optimizer"]["config"]["preset"] is None
