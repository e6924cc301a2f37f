import os
import pathlib
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks.omniglot import load_omniglot

LAYOUT = {
    "images_background": {"Korean": 2, "Braille": 1},
    "images_evaluation": {"Avesta": 2},
}


def make_drawing(rng):
    """uint8 `(105, 105)`, 0 = ink, 255 = paper, as in the official PNGs."""
    return (rng.random((105, 105)) < 0.7).astype(np.uint8) * 255


def shrink_by_hand(drawing):
    """The pixel under the centre of each small pixel; ink becomes 1."""
    small = np.zeros((28, 28), np.uint8)
    for row in range(28):
        for column in range(28):
            pixel = drawing[(2 * row + 1) * 105 // 56, (2 * column + 1) * 105 // 56]
            small[row, column] = pixel == 0
    return small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """images_background/ and images_evaluation/, and the expected small images."""
    root = tmp_path_factory.mktemp("omniglot")
    rng = np.random.default_rng(0)
    first = {}
    for part, alphabets in LAYOUT.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                place = root / part / alphabet / f"character{character:02}"
                place.mkdir(parents=True)
                for drawing in range(1, 21):
                    pixels = make_drawing(rng)
                    content = tf.io.encode_png(pixels[..., np.newaxis]).numpy()
                    (place / f"0001_{drawing:02}.png").write_bytes(content)
                    if drawing == 1:
                        first[alphabet, character] = shrink_by_hand(pixels)
    return root, first


def zip_folder(root, part, target):
    with zipfile.ZipFile(target, "w") as archive:
        for file in (root / part).rglob("*.png"):
            archive.write(file, file.relative_to(root))
        archive.writestr(f"__MACOSX/{part}/Korean/character01/._0001_01.png", b"x")
    return target


def test_a_folder_is_read_in_order_and_shrunk(folder):
    root, first = folder
    images, alphabets = load_omniglot(root)
    assert images.dtype == np.uint8
    assert images.shape == (3, 20, 28, 28)
    assert alphabets == ["Braille", "Korean", "Korean"]
    keys = [("Braille", 1), ("Korean", 1), ("Korean", 2)]
    for image, key in zip(images, keys, strict=True):
        np.testing.assert_array_equal(image[0], first[key])


def test_parts_are_kept_apart(folder):
    root, first = folder
    assert load_omniglot(root, part="evaluation")[1] == ["Avesta"] * 2
    images, alphabets = load_omniglot(root, part="all")
    assert alphabets == ["Braille", "Korean", "Korean", "Avesta", "Avesta"]
    np.testing.assert_array_equal(images[3, 0], first["Avesta", 1])


def test_one_part_s_own_folder_and_zip_give_the_same(folder, tmp_path):
    root, _ = folder
    expected, _ = load_omniglot(root)
    images, _ = load_omniglot(root / "images_background")
    np.testing.assert_array_equal(images, expected)
    target = zip_folder(root, "images_background", tmp_path / "images_background.zip")
    images, alphabets = load_omniglot(target)
    np.testing.assert_array_equal(images, expected)
    assert alphabets == ["Braille", "Korean", "Korean"]
    assert load_omniglot(tmp_path)[1] == alphabets  # the folder that holds the zip


def test_an_npz_gives_its_parts(folder, tmp_path):
    images, alphabets = load_omniglot(folder[0], part="all")
    np.savez(
        tmp_path / "omniglot28.npz",
        images=images,
        alphabet=np.array([0, 1, 1, 2, 2], np.int8),
        alphabet_names=np.array(["Braille", "Korean", "Avesta"]),
        is_evaluation=np.array([0, 0, 0, 1, 1], bool),
    )
    for part in ("background", "evaluation", "all"):
        loaded, names = load_omniglot(tmp_path, part=part)
        expected, expected_names = load_omniglot(folder[0], part=part)
        np.testing.assert_array_equal(loaded, expected)
        assert names == expected_names


def test_the_environment_variable_is_the_default_folder(folder, monkeypatch):
    monkeypatch.setenv("KERAS_META_DATA", str(folder[0]))
    assert len(load_omniglot()[0]) == 3


def test_nothing_found_says_what_was_looked_for(tmp_path, monkeypatch):
    text = (
        r"part='background'\) was not found in '.*'. Looked for: omniglot28.npz, "
        r"images_background/ or images_background.zip. Pass `path`, or .*download=True"
    )
    with pytest.raises(FileNotFoundError, match=text):
        load_omniglot(tmp_path)
    monkeypatch.delenv("KERAS_META_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="KERAS_META_DATA and `path` are not"):
        load_omniglot()


def test_a_missing_part_is_not_passed_over(folder, tmp_path):
    zip_folder(folder[0], "images_background", tmp_path / "images_background.zip")
    with pytest.raises(FileNotFoundError, match="images_evaluation.zip"):
        load_omniglot(tmp_path, part="all")


def test_download_fetches_the_official_zips(folder, tmp_path, monkeypatch):
    asked = []

    def get_file(file_name, origin, file_hash, hash_algorithm, cache_subdir):
        asked.append((origin, len(file_hash), hash_algorithm))
        part = file_name.removesuffix(".zip")
        return str(zip_folder(folder[0], part, tmp_path / file_name))

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    images, _ = load_omniglot(tmp_path / "nowhere", part="all", download=True)
    assert len(images) == 5
    url = "https://github.com/brendenlake/omniglot/raw/master/python/"
    assert asked == [
        (f"{url}images_background.zip", 32, "md5"),
        (f"{url}images_evaluation.zip", 32, "md5"),
    ]


def test_a_damaged_zip_is_one_clear_error(folder, tmp_path):
    target = zip_folder(folder[0], "images_evaluation", tmp_path / "images.zip")
    content = bytearray(target.read_bytes())
    cut = tmp_path / "cut.zip"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut.zip' is not a zip, or is damaged"):
        load_omniglot(cut, part="evaluation")
    place = content.index(b"IDAT") + 60
    content[place : place + 20] = bytes(20)
    target.write_bytes(content)
    with pytest.raises(ValueError, match="images.zip' is not a zip, or is damaged"):
        load_omniglot(target, part="evaluation")


def test_a_damaged_drawing_is_named(folder, tmp_path):
    target = tmp_path / "images.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for drawing in range(20):
            name = f"images_background/Korean/character01/{drawing:02}.png"
            archive.writestr(name, b"no picture")
    with pytest.raises(ValueError, match="Korean/character01/00.png' in .* not a PNG"):
        load_omniglot(target)


def test_a_missing_drawing_is_an_error(folder, tmp_path):
    target = tmp_path / "images.zip"
    with zipfile.ZipFile(target, "w") as archive:
        file = folder[0] / "images_background/Korean/character01/0001_01.png"
        archive.write(file, "images_background/Korean/character01/0001_01.png")
    text = "Korean/character01 in .* must have 20 drawings. Received: 1."
    with pytest.raises(ValueError, match=text):
        load_omniglot(target)


def test_the_wrong_part_or_other_files_are_an_error(folder, tmp_path):
    target = zip_folder(folder[0], "images_background", tmp_path / "any.zip")
    with pytest.raises(ValueError, match="Nothing of part='evaluation' is in '.*any"):
        load_omniglot(target, part="evaluation")
    with pytest.raises(ValueError, match="Nothing of part='evaluation'"):
        load_omniglot(folder[0] / "images_background", part="evaluation")
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("cat.png", b"")
    with pytest.raises(ValueError, match="Received: 1 PNG files, such as 'cat.png'"):
        load_omniglot(other)


def test_a_wrong_npz_is_one_clear_error(folder, tmp_path):
    target = tmp_path / "omniglot28.npz"
    arrays = {
        "images": np.zeros((1, 20, 28, 28), np.uint8),
        "alphabet": np.zeros(1, int),
        "alphabet_names": np.array(["Korean"]),
        "is_evaluation": np.zeros(1, bool),
    }
    text = "omniglot28.npz' must be an undamaged .npz with the arrays images"
    for change in (
        {"alphabet": np.ones(1, int)},
        {"alphabet_names": np.array(["Korean"], object)},
    ):
        np.savez(target, **(arrays | change))
        with pytest.raises(ValueError, match=text):
            load_omniglot(target)
    np.savez(target, images=arrays["images"])
    with pytest.raises(ValueError, match=text):
        load_omniglot(target)
    for content in (b"", b"text", folder[0].name.encode() * 100):
        target.write_bytes(content)
        with pytest.raises(ValueError, match=text):
            load_omniglot(target)
    np.savez(target, **(arrays | {"images": np.zeros((1, 20, 8, 8), np.uint8)}))
    with pytest.raises(ValueError, match=r"must hold images uint8 .*\(1, 20, 8, 8\)"):
        load_omniglot(target)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="`part` must be one of .*part='test'"):
        load_omniglot(part="test")


def test_the_official_zip_equals_the_maml_script_s_images():
    data = pathlib.Path(os.environ.get("KERAS_META_DATA", ""))
    for name in ("omniglot28.npz", "omniglot_small1.zip"):
        if "KERAS_META_DATA" not in os.environ or not (data / name).is_file():
            pytest.skip(f"{name} is not in the folder KERAS_META_DATA")
    images, alphabets = load_omniglot(data / "omniglot_small1.zip")
    kept, kept_alphabets = load_omniglot(data / "omniglot28.npz")
    # The npz may leave out characters, but no drawing may differ.
    known = {image.tobytes() for image in kept}
    shared = sorted(set(alphabets) & set(kept_alphabets))
    assert len(shared) == 5
    for alphabet in shared:
        rows = [i for i, name in enumerate(alphabets) if name == alphabet]
        same = [images[i].tobytes() in known for i in rows]
        assert sum(same) == kept_alphabets.count(alphabet)
