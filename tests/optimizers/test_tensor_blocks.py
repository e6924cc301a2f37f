"""Blocks of tensors and their samples, against NumPy."""

import math

import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import tensor_blocks
from keras_meta.optimizers.tensor_blocks import TensorBlocks

SHAPES = [(5, 3), (), (200, 300), (7,), (1, 1), (40_000,), (2, 2, 2)]


@pytest.fixture
def tensors():
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype("float32") for shape in SHAPES]


def test_small_neighbours_share_a_block(tensors):
    blocks = TensorBlocks(SHAPES).join(tensors)
    assert [len(block) for block in blocks] == [16, 60_000, 8, 40_000, 8]
    assert np.array_equal(blocks[0], [*tensors[0].ravel(), tensors[1]])


def test_factors_reach_their_tensors_and_shapes_return(tensors):
    plan = TensorBlocks(SHAPES)
    factors = np.arange(1.0, len(SHAPES) + 1.0, dtype="float32")
    scaled = plan.scaled(plan.join(tensors), ops.convert_to_tensor(factors))
    for tensor, factor, result in zip(tensors, factors, scaled, strict=True):
        np.testing.assert_allclose(result, factor * tensor)


def test_samples_hold_small_tensors_whole_and_entries_of_large_ones(tensors):
    plan = TensorBlocks(SHAPES)
    sample = np.asarray(plan.take(plan.join(tensors)))
    limit = (
        tensor_blocks.ALL_SAMPLES
        // len(SHAPES)
        // tensor_blocks.RUN
        * tensor_blocks.RUN
    )
    assert sample.shape == (len(SHAPES), plan.width) and plan.width == limit
    for row, count, tensor in zip(sample, plan.counts, tensors, strict=True):
        count = int(count)
        assert count == min(tensor.size, limit)
        assert np.all(row[count:] == 0.0)
        if tensor.size <= limit:
            assert np.array_equal(row[:count], tensor.ravel())
        else:
            assert np.isin(row[:count], tensor).all()


@pytest.mark.parametrize("shape", [(784, 128), (4096, 64), (3, 3, 64, 64), (1000, 30)])
def test_a_sample_reaches_every_column(shape):
    plan = TensorBlocks([shape])
    size = math.prod(shape)
    taken = np.asarray(plan.take([np.arange(size, dtype="float32")]))[0].astype("int64")
    counts = np.bincount(taken % shape[-1], minlength=shape[-1])
    assert counts.min() > 0 and counts.max() <= 2 * counts.min() + 1
    assert len(np.unique(taken)) == len(taken)


def test_many_tensors_have_small_samples():
    plan = TensorBlocks([(64, 64)] * 100)
    assert plan.width == tensor_blocks.LEAST_SAMPLE
    assert len(plan.join([np.zeros((64, 64), "float32")] * 100)) == 13
