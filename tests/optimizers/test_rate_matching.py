"""Groups of rates and their matching; expected numbers by hand."""

import numpy as np
import pytest

from keras_meta.optimizers.parameter_specs import ParameterSpec
from keras_meta.optimizers.rate_matching import match_rates, rate_groups

SPECS = [
    ParameterSpec("model/conv2d/kernel", (3, 3, 1, 2)),
    ParameterSpec("model/conv2d/bias", (2,)),
    ParameterSpec("model/dense_7/kernel", (8, 2)),
    ParameterSpec("model/dense_7/bias", (2,)),
    ParameterSpec("model/dense_8/kernel", (2, 2)),
]


@pytest.mark.parametrize(
    ("granularity", "shapes"),
    [
        ("parameter", [(3, 3, 1, 2), (2,), (8, 2), (2,), (2, 2)]),
        ("tensor", [()] * 5),
    ],
)
def test_one_group_for_each_parameter(granularity, shapes):
    groups = rate_groups(SPECS, granularity)
    assert [g.indices for g in groups] == [(0,), (1,), (2,), (3,), (4,)]
    assert [g.shape for g in groups] == shapes
    assert groups[2].path == "dense/kernel" and groups[4].path == "dense_1/kernel"
    assert groups[4].kind == "dense/kernel" and groups[4].names == ("kernel",)


def test_one_group_for_each_layer():
    groups = rate_groups(SPECS, "layer")
    assert [g.indices for g in groups] == [(0, 1), (2, 3), (4,)]
    assert [g.path for g in groups] == ["conv2d", "dense", "dense_1"]
    assert [g.kind for g in groups] == ["conv2d", "dense", "dense"]
    assert groups[0].names == ("kernel", "bias") and groups[0].shape == ()


def test_parameters_without_a_layer_are_their_own():
    specs = [ParameterSpec("variable", (2,)), ParameterSpec("variable~1", (2,))]
    assert [g.indices for g in rate_groups(specs, "layer")] == [(0,), (1,)]


def test_a_layer_that_returns_starts_a_new_group():
    specs = [
        ParameterSpec("m/a/kernel", (1,)),
        ParameterSpec("m/b/kernel", (1,)),
        ParameterSpec("m/a/bias", (1,)),
    ]
    assert [g.indices for g in rate_groups(specs, "layer")] == [(0,), (1,), (2,)]


def test_match_says_why_a_mean_was_taken():
    source = rate_groups(SPECS[:4], "parameter")
    arrays = [np.full(g.shape, i + 1.0, "float32") for i, g in enumerate(source)]
    target = rate_groups(
        [
            ParameterSpec("m/dense_1/kernel", (8, 2)),  # by path and shape: 3
            ParameterSpec("m/dense_1/bias", (3,)),  # by path: 4
            ParameterSpec("m/dense_2/kernel", (3, 1)),  # by kind: 3
            ParameterSpec("m/lstm/gates", (2,)),  # by none: the mean of 38 entries
        ],
        "parameter",
    )
    matched, inexact = match_rates(source, arrays, target)
    overall = (18 * 1 + 2 * 2 + 16 * 3 + 2 * 4) / 38
    for array, group, value in zip(matched, target, (3, 4, 3, overall), strict=True):
        assert array.shape == group.shape
        np.testing.assert_allclose(array, value, rtol=1e-6)
    assert inexact == [
        "dense/bias (3,) was learned with shape (2,)",
        "dense_1/kernel (3, 1) was not learned; other 'dense/kernel' were",
        "lstm/gates (2,) was not learned, nor any of its kind",
    ]


def test_same_names_and_shapes_match_by_position_under_any_path():
    source = rate_groups([ParameterSpec("m/mine/kernel", (2,))], "parameter")
    target = rate_groups([ParameterSpec("m/other/kernel", (2,))], "parameter")
    matched, inexact = match_rates(source, [np.array([1.0, 2.0])], target)
    np.testing.assert_array_equal(matched[0], [1.0, 2.0])
    assert inexact == []


def test_another_order_of_names_does_not_match_by_position():
    source = rate_groups(
        [ParameterSpec("m/a/kernel", ()), ParameterSpec("m/a/bias", ())], "parameter"
    )
    target = rate_groups(
        [ParameterSpec("m/a/bias", ()), ParameterSpec("m/a/kernel", ())], "parameter"
    )
    matched, inexact = match_rates(source, [np.float32(1.0), np.float32(2.0)], target)
    assert [float(array) for array in matched] == [2.0, 1.0]
    assert inexact == []
