"""Families of networks: their sizes, their data, what they refuse."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets

from keras_meta.tasks import network_family, table_problems

SEED = tf.constant([0, 3], "int64")


def iris():
    return datasets.load_iris(return_X_y=True)


def loss_at_start(problem):
    data, parameters = problem.sample(SEED)
    return float(problem.loss(data, parameters, SEED))


def test_sizes_are_drawn_from_their_ranges():
    problems = network_family(*iris(), count=30, units=(4, 32), layers=(1, 3))
    units = [problem.parameter_shapes[0][1] for problem in problems]
    depths = [len(problem.parameter_shapes) // 2 - 1 for problem in problems]
    batches = [problem.batch_size for problem in problems]
    activations = {p.model.layers[1].activation.__name__ for p in problems}
    assert 4 <= min(units) < 8 < 24 < max(units) <= 32
    assert set(depths) == {1, 2, 3}
    assert 16 <= min(batches) < max(batches) <= 128
    assert activations == {"relu", "tanh", "sigmoid", "gelu"}
    # Three classes.
    assert {problem.parameter_shapes[-1] for problem in problems} == {(3,)}


def test_a_family_depends_on_its_seed():
    first, again, other = (network_family(*iris(), count=3, seed=s) for s in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert one.parameter_shapes == two.parameter_shapes
        assert loss_at_start(one) == loss_at_start(two)
    assert [p.parameter_shapes for p in first] != [p.parameter_shapes for p in other]


def test_classes_and_regression():
    x, y = iris()
    [classes] = network_family(x, y, 1, label_noise=0.0, initial_scale=1e-3)
    # Outputs are about zero: the entropy of three classes.
    assert loss_at_start(classes) == pytest.approx(np.log(3), rel=0.01)
    targets = np.stack([x[:, 0], x[:, 1]], axis=1)
    [regression] = network_family(
        x, targets, 1, label_noise=0.0, initial_scale=1e-3, batch_size=4000
    )
    assert regression.batch_size == 150
    assert regression.parameter_shapes[-1] == (2,)
    assert loss_at_start(regression) == pytest.approx(np.mean(targets**2), rel=0.1)


def test_images_are_flattened():
    x = np.zeros((20, 4, 4, 1))
    [problem] = network_family(x, np.arange(20) % 2, 1)
    assert problem.parameter_shapes[0][0] == 16


def test_tables():
    problems = table_problems(count=2)
    inputs = [problem.parameter_shapes[0][0] for problem in problems]
    outputs = [problem.parameter_shapes[-1][0] for problem in problems]
    assert inputs == [30, 30, 10, 10, 64, 64, 4, 4, 13, 13]
    assert outputs == [2, 2, 1, 1, 10, 10, 3, 3, 3, 3]
    for problem in problems[::2]:
        assert abs(float(tf.reduce_mean(problem.x))) < 1e-5
        assert 0.9 < float(tf.math.reduce_std(problem.x)) < 1.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be an integer >= 1"),
        ({"units": (0, 4)}, "`units` must be above 0"),
        ({"layers": (2, 1)}, "`layers` must be finite, with low <= high"),
        ({"batch_size": "all"}, "`batch_size` must be a number or a pair"),
        ({"activations": ()}, "`activations` must be a list of names"),
        ({"activations": "relu"}, "`activations` must be a list of names"),
        ({"x": np.zeros(150)}, r"Received: shapes \(150,\) and \(150,\)"),
        ({"y": np.array(["a", "b", "c"] * 50)}, "class numbers or floats.*unique"),
        (
            {"y": np.eye(3, dtype=int)[np.arange(150) % 3]},
            "one class number an example",
        ),
        ({"y": np.arange(150) - 1}, "class numbers from 0 on.*from -1 to 148"),
        ({"y": np.zeros(3)}, r"Received: shapes \(150, 4\) and \(3,\)"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    x, y = iris()
    with pytest.raises(ValueError, match=message):
        network_family(**({"x": x, "y": y} | arguments))


def test_bools_are_two_classes():
    x, y = iris()
    [problem] = network_family(x, y > 0, count=1)
    assert problem.parameter_shapes[-1] == (2,)


def test_one_table_by_its_name():
    assert len(table_problems(count=2, tables="iris")) == 2


def test_tables_that_there_are_not(monkeypatch):
    with pytest.raises(ValueError, match=r"Received: \['boston'\]"):
        table_problems(tables=["iris", "boston"])
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        table_problems()
