import json

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks.few_shot import FewShotClassification
from keras_meta.testing.check_tasks import check_tasks


def numbered_images(classes=6, examples=5, side=3):
    """uint8 `(classes * examples, side, side)`: image i has 9 * i in its corner."""
    count = classes * examples
    images = np.zeros((count, side, side), np.uint8)
    images[:, 0, 0] = np.arange(count) * 8
    labels = np.arange(count) % classes
    return images, labels


@pytest.mark.parametrize("rotations", [False, True])
def test_conformance(rotations):
    tasks = FewShotClassification(*numbered_images(), 3, 2, 3, rotations=rotations)
    assert "tf.vectorized_map" in check_tasks(tasks)


def test_episodes_hold_distinct_examples_with_the_right_labels():
    images, labels = numbered_images()
    tasks = FewShotClassification(images, labels, ways=4, shots=2, queries=3)
    seen_orders = set()
    for seed in range(20):
        episode = tasks.sample(seed)
        assert episode.support_x.shape == (8, 3, 3, 1)
        assert episode.support_x.dtype == tf.float32
        assert episode.support_y.dtype == episode.query_y.dtype == tf.int32
        assert episode.support_y.numpy().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert episode.query_y.numpy().tolist() == np.repeat(range(4), 3).tolist()
        numbers = [x.numpy()[:, 0, 0, 0] / 8 for x in (episode[0], episode[2])]
        drawn = np.concatenate(numbers).astype(int)
        assert len(set(drawn)) == 20
        episode_labels = np.concatenate([episode.support_y, episode.query_y])
        order = [set(labels[drawn[episode_labels == way]]) for way in range(4)]
        assert all(len(classes) == 1 for classes in order)
        assert len(set.union(*order)) == 4
        seen_orders.add(tuple(next(iter(classes)) for classes in order))
    assert len(seen_orders) > 15  # of 360 orders


def test_every_class_and_example_is_drawn():
    images, labels = numbered_images(classes=3, examples=4)
    tasks = FewShotClassification(images, labels, ways=1, shots=1, queries=1)
    seen = {int(tasks.sample(seed).support_x[0, 0, 0, 0]) // 8 for seed in range(150)}
    assert seen == set(range(12))


def test_values_are_not_scaled_and_bytes_stay_bytes_in_memory():
    images, labels = numbered_images()
    images[:] = 255
    tasks = FewShotClassification(images, labels, ways=2, queries=1)
    assert tasks.sample(0).support_x.numpy().max() == 255.0
    assert tasks.describe()["data"]["dtype"] == "uint8"


def test_the_data_are_captured_and_not_embedded_in_a_graph():
    images, labels = numbered_images(side=20)

    @tf.function
    def build_and_sample(seed):
        return FewShotClassification(images, labels, 2, 1, 1).sample(seed)

    graph = build_and_sample.get_concrete_function(tf.TensorSpec((2,), tf.int64)).graph
    assert images.shape + (1,) in {tuple(tensor.shape) for tensor, _ in graph.captures}
    assert len(graph.as_graph_def().SerializeToString()) < images.nbytes


def test_the_layout_with_classes_first_equals_the_flat_one():
    images, labels = numbered_images()
    stacked = np.stack([images[labels == label] for label in range(6)])
    flat = FewShotClassification(images, labels, 3, 1, 2).sample(5)
    nested = FewShotClassification(stacked, None, 3, 1, 2).sample(5)
    for a, b in zip(flat, nested, strict=True):
        np.testing.assert_array_equal(a, b)


def test_vectors_and_colour_images_keep_their_shape():
    labels = np.repeat([4, 9], 3)
    for shape in ((7,), (2, 3, 4)):
        tasks = FewShotClassification(np.ones((6, *shape)), labels, 2, 1, 2)
        assert tasks.sample(0).query_x.shape == (4, *shape)


def test_unequal_classes_are_drawn_from_their_own_examples():
    labels = np.array([0] * 3 + [1] * 30)
    images = np.arange(33.0)[:, np.newaxis]
    tasks = FewShotClassification(images, labels, 2, 1, 2)
    for seed in range(10):
        x = tasks.sample(seed).query_x.numpy().ravel().reshape(2, 2)
        assert sorted((x < 3).all(axis=1)) == [False, True]
        assert sorted((x >= 3).all(axis=1)) == [False, True]


@pytest.mark.parametrize("channels", [1, 3])
def test_rotations_are_those_of_numpy_and_one_a_class(channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 5, 4, 4, channels), np.uint8)
    tasks = FewShotClassification(images, None, 8, 2, 3, rotations=True)
    assert tasks.num_classes == 8
    episode = tasks.sample(0)
    examples = np.concatenate(
        [
            episode.support_x.numpy().reshape(8, 2, 4, 4, channels),
            episode.query_x.numpy().reshape(8, 3, 4, 4, channels),
        ],
        axis=1,
    )
    found = set()
    for drawn in examples:  # (5, 4, 4, channels): all examples of one class
        fits = [
            (label, turn)
            for label in range(2)
            for turn in range(4)
            if {image.tobytes() for image in drawn}
            == {
                np.ascontiguousarray(np.rot90(image, turn), np.float32).tobytes()
                for image in images[label]
            }
        ]
        assert len(fits) == 1
        found.update(fits)
    assert len(found) == 8


def test_describe_is_json_and_holds_sizes():
    facts = FewShotClassification(*numbered_images(), 3, 2, 3, True).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["arguments"] == {
        "ways": 3,
        "shots": 2,
        "queries": 3,
        "rotations": True,
    }
    assert facts["data"] == {
        "images": 30,
        "image_shape": [3, 3, 1],
        "dtype": "uint8",
        "classes": 24,
    }


def test_wrong_data_are_refused():
    images, labels = numbered_images()
    broken = images.astype(np.float64)
    broken[4, 1, 1] = np.nan
    nested = np.zeros((2, 30, 3, 3))
    nested[1, 7, 0, 0] = np.inf
    cases = [
        (images, labels[:-1], {}, r"shape \(30,\). Received: shape \(29,\)"),
        (images, labels.astype(float), {}, "`labels` must hold integers.*float64"),
        (images, labels.astype(str), {}, "`labels` must hold integers"),
        (broken, labels, {}, r"first in images\[4\]\. Remove"),
        (nested, None, {}, r"first in images\[1, 7\]\. Remove"),
        (images[:0], labels[:0], {}, r"not empty. Received: shape \(0, 3, 3\)"),
        (labels, labels, {}, r"array `\(n, ...\)` .*Received: shape \(30,\)"),
        (labels[None], None, {}, r"`\(classes, examples, ...\)`.*`labels` is None"),
        (images.astype(str), labels, {}, "must hold real numbers. Received: dtype <U"),
        (images[:, :2], labels, {"rotations": True}, r"square .* shape \(2, 3, 1\)"),
        (images[:, 0], labels, {"rotations": True}, r"square .* shape \(3,\)"),
    ]
    for data, classes, arguments, text in cases:
        with pytest.raises(ValueError, match=text):
            FewShotClassification(data, classes, 2, 1, 1, **arguments)


def test_too_few_classes_or_examples_are_refused():
    images, labels = numbered_images()
    text = "Received: ways=7, 6 classes. Lower `ways`, pass rotations=True for four"
    with pytest.raises(ValueError, match=text):
        FewShotClassification(images, labels, 7, 1, 1)
    text = "Received: ways=25, 24 classes. Lower `ways`, or bring more classes."
    with pytest.raises(ValueError, match=text):
        FewShotClassification(images, labels, 25, 1, 1, rotations=True)
    labels = np.array([7] * 2 + [8] * 1 + [9] * 27)
    text = (
        r"at least shots \+ queries = 3 examples. Too few in 2 of 3 classes: "
        r"7 \(2 examples\), 8 \(1 example\). Lower `shots` or `queries`, or drop"
    )
    with pytest.raises(ValueError, match=text):
        FewShotClassification(images, labels, 2, 1, 2)


@pytest.mark.parametrize("name", ["ways", "shots", "queries"])
def test_counts_must_be_positive_integers(name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer >= 1"):
        FewShotClassification(*numbered_images(), **{name: 0})


def test_rotations_must_be_a_bool():
    with pytest.raises(ValueError, match="`rotations` must be True or False.*=90"):
        FewShotClassification(*numbered_images(), rotations=90)


def test_images_without_labels_are_said_to_be_read_as_classes():
    images = np.zeros((60, 8, 8))
    text = (
        r"labels=None reads images of shape \(60, 8, 8\) as \(classes, examples, ...\)"
        ": if their leading axis is examples, pass `labels`"
    )
    for arguments in ({"ways": 5, "queries": 15}, {"ways": 61, "queries": 1}):
        with pytest.raises(ValueError, match=text):
            FewShotClassification(images, **arguments)


@pytest.mark.parametrize("dtype", [int, float])
def test_one_hot_labels_are_referred_to_argmax(dtype):
    images, labels = numbered_images()
    with pytest.raises(ValueError, match=r"shape \(30, 6\). For one-hot .*argmax"):
        FewShotClassification(images, np.eye(6, dtype=dtype)[labels], 2, 1, 1)
