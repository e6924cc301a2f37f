"""How parameters are named: expected paths written by hand."""

import keras
import pytest

from keras_meta.optimizers.parameter_specs import (
    ParameterSpec,
    canonical_paths,
    specs_of,
)


def test_specs_are_paths_and_shapes():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="hidden")], name="net"
    )
    assert specs_of(model.trainable_variables) == (
        ("net/hidden/kernel", (3, 4)),
        ("net/hidden/bias", (4,)),
    )


def test_equal_paths_get_a_suffix():
    variables = [keras.Variable([1.0], name="w") for _ in range(3)]
    assert [spec.path for spec in specs_of(variables)] == ["w", "w~1", "w~2"]


@pytest.mark.parametrize(
    ("path", "layer", "kind"),
    [
        ("m/dense_12/kernel", "m/dense_12", "dense/kernel"),
        ("m/block_2/conv2d_1/bias", "m/block_2/conv2d_1", "conv2d/bias"),
        ("alone", "alone", "/alone"),
    ],
)
def test_layer_and_kind(path, layer, kind):
    spec = ParameterSpec(path, (1,))
    assert spec.layer == layer and spec.kind == kind


@pytest.mark.parametrize(
    ("paths", "canonical"),
    [
        # The model's name goes, automatic numbers start again.
        (
            ["sequential_3/dense_5/kernel", "sequential_3/dense_6/kernel"],
            ["dense/kernel", "dense_1/kernel"],
        ),
        # Other kinds do not count.
        (
            ["m/dense_5/kernel", "m/conv2d_9/kernel", "m/dense_6/kernel"],
            ["dense/kernel", "conv2d/kernel", "dense_1/kernel"],
        ),
        # Nested models and names that a user chose.
        (
            ["m/encoder/dense_4/kernel", "m/decoder/dense_5/kernel"],
            ["encoder/dense/kernel", "decoder/dense/kernel"],
        ),
        # Without a model around, there is no name to drop.
        (["dense_2/kernel", "dense_2/bias"], ["dense/kernel", "dense/bias"]),
        (["a/dense/kernel", "b/dense/kernel"], ["a/dense/kernel", "b/dense/kernel"]),
        (["variable"], ["variable"]),
    ],
)
def test_canonical_paths(paths, canonical):
    assert canonical_paths([ParameterSpec(path, (1,)) for path in paths]) == canonical
