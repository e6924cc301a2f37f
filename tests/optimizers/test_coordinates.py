"""The row of coordinates: laid out, mapped, and taken apart again."""

import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers.coordinates import Coordinates

SHAPES = [(2, 3), (), (4,)]  # 11 coordinates
TENSORS = [np.arange(6.0).reshape(2, 3), np.array(6.0), np.arange(7.0, 11.0)]


def tensors():
    return [ops.convert_to_tensor(t, dtype="float32") for t in TENSORS]


@pytest.mark.parametrize(
    ("chunk_size", "shape"), [(11, (11,)), (10, (2, 10)), (4, (3, 4))]
)
def test_a_row_and_back(chunk_size, shape):
    coordinates = Coordinates(SHAPES, chunk_size)
    row = coordinates.row(tensors())
    assert row.shape == coordinates.shape == shape
    flat = np.ravel(row)
    np.testing.assert_array_equal(flat[:11], np.arange(11.0))
    np.testing.assert_array_equal(flat[11:], 0.0)
    for received, expected in zip(coordinates.tensors(row), TENSORS, strict=True):
        np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("chunk_size", [11, 4])
def test_map_sees_every_coordinate_once(chunk_size):
    coordinates = Coordinates(SHAPES, chunk_size)
    result = coordinates.map(
        lambda values: {"square": values["x"] ** 2}, {"x": coordinates.row(tensors())}
    )
    assert result["square"].shape == coordinates.shape
    np.testing.assert_array_equal(np.ravel(result["square"])[:11], np.arange(11.0) ** 2)


def test_nothing_is_an_empty_row():
    coordinates = Coordinates([], 4)
    assert coordinates.row([]).shape == (0,)
    assert coordinates.tensors(coordinates.row([])) == []
