import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks.dataset_episodes import as_episode, episodes_from_dataset
from keras_meta.tasks.task import Episode

FORMS = {
    "episode": lambda a, b, c, d: Episode(a, b, c, d),
    "pairs": lambda a, b, c, d: ((a, b), (c, d)),
    "flat": lambda a, b, c, d: (a, b, c, d),
    "dict": lambda a, b, c, d: {
        "query_y": d,
        "query_x": c,
        "support_y": b,
        "support_x": a,
    },
}


def dataset_of(*shapes, form="flat", dtypes=("float32",) * 4):
    """A dataset that fails as soon as something is read from it."""

    def refuse():
        raise RuntimeError("the dataset was read")

    signature = FORMS[form](
        *(
            tf.TensorSpec(shape, dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        )
    )
    return tf.data.Dataset.from_generator(refuse, output_signature=signature)


@pytest.mark.parametrize("form", FORMS)
def test_as_episode_takes_every_form(form):
    assert as_episode(FORMS[form](1, 2, 3, 4)) == Episode(1, 2, 3, 4)


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_of_every_form_becomes_episodes(form):
    arrays = [np.arange(12.0).reshape(2, 3, 2) + shift for shift in range(4)]
    dataset = tf.data.Dataset.from_tensor_slices(FORMS[form](*arrays))
    episodes = episodes_from_dataset(dataset)
    assert isinstance(episodes.element_spec, Episode)
    read = list(episodes)
    assert len(read) == 2
    for field, array in zip(read[1], arrays, strict=True):
        np.testing.assert_array_equal(field, array[1])


def test_nested_inputs_are_kept():
    x = {"a": np.zeros((2, 3, 1)), "b": np.zeros((2, 3), np.int32)}
    y = np.zeros((2, 3))
    dataset = tf.data.Dataset.from_tensor_slices(((x, y), (x, y)))
    assert set(episodes_from_dataset(dataset).element_spec.query_x) == {"a", "b"}


@pytest.mark.parametrize(
    "element, error, text",
    [
        (1.0, TypeError, "must be an Episode, .* Received: float"),
        ((1, 2), ValueError, "Received: a tuple of 2 parts"),
        ((1, 2, 3), ValueError, "Received: a tuple of 3 parts"),
        (((1, 2), (3, 4, 5)), ValueError, "Received: a tuple of 2 parts"),
        ({"support_x": 1}, ValueError, r"exactly the keys .*\['support_x'\]"),
    ],
)
def test_other_elements_are_refused(element, error, text):
    with pytest.raises(error, match=text):
        as_episode(element)


def test_a_fitting_dataset_is_not_read():
    dataset = dataset_of((5, 2), (5, 1), (9, 2), (9, 1))
    assert episodes_from_dataset(dataset).element_spec.query_x.shape == (9, 2)


@pytest.mark.parametrize(
    "shapes, text",
    [
        (
            ((None, 2), (5, 1), (9, 2), (9, 1)),
            r"`support_x` must have a known number .*shape \(None, 2\).*drop_remainder",
        ),
        (((5, 2), (5, 1), (9, 2), None), "`query_y` must have a known number"),
        (((5, 2), (), (9, 2), (9, 1)), r"`support_y` must have a known .*shape \(\)"),
        (((5, 2), (4, 1), (9, 2), (9, 1)), r"`support_y` .*Received: \[5, 4\]"),
        (((5, 2), (5, 1), (9, 2), (8, 1)), r"`query_x` and .*Received: \[9, 8\]"),
        (
            ((5, 2), (5, 1), (9, 3), (9, 1)),
            r"`support_x` and `query_x` .*float32 \(5, 2\) and float32 \(9, 3\)",
        ),
        (((5, 2), (5, 1), (9, 2), (9,)), "`support_y` and `query_y` must have"),
    ],
)
def test_wrong_shapes_are_refused_without_reading(shapes, text):
    with pytest.raises(ValueError, match=text):
        episodes_from_dataset(dataset_of(*shapes))


def test_different_dtypes_are_refused():
    dataset = dataset_of(
        (5, 2),
        (5,),
        (9, 2),
        (9,),
        dtypes=("float32", "int32", "float32", "float32"),
    )
    with pytest.raises(ValueError, match=r"int32 \(5,\) and float32 \(9,\)"):
        episodes_from_dataset(dataset)


def test_different_structures_are_refused():
    x, y = np.zeros((2, 3, 1)), np.zeros((2, 3))
    dataset = tf.data.Dataset.from_tensor_slices((((x, x), y), (x, y)))
    with pytest.raises(
        ValueError, match="`support_x` and `query_x` must have the same"
    ):
        episodes_from_dataset(dataset)


def test_ragged_elements_are_refused():
    ragged = tf.ragged.constant([[[1.0], [2.0, 3.0]]])
    y = np.zeros((1, 2))
    dataset = tf.data.Dataset.from_tensor_slices((ragged, y, ragged, y))
    with pytest.raises(ValueError, match="`support_x` must be dense tensors"):
        episodes_from_dataset(dataset)


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="must be a tf.data.Dataset .*Received: list"):
        episodes_from_dataset([1])


@pytest.mark.parametrize("size", [None, 4])
def test_batched_datasets_are_told_not_to_batch(size):
    shapes = ((size, 5, 2), (size, 5, 1), (size, 9, 2), (size, 9, 1))
    with pytest.raises(ValueError, match="single episodes: do not batch the dataset"):
        episodes_from_dataset(dataset_of(*shapes))


def test_a_list_of_inputs_is_told_to_be_a_tuple():
    """tf.data makes one tensor of a list, (2 inputs, 5 examples, 3)."""
    x, y = np.zeros((5, 3)), np.zeros((5, 1))
    dataset = tf.data.Dataset.from_tensors(Episode([x, x], y, [x, x], y))
    with pytest.raises(ValueError, match=r"\[2, 5\]. If that is a list .* use a tuple"):
        episodes_from_dataset(dataset)
    dataset = tf.data.Dataset.from_tensors(Episode((x, x), y, (x, x), y))
    assert len(episodes_from_dataset(dataset).element_spec.support_x) == 2
