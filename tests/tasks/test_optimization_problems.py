"""Quadratic, Rosenbrock, LogisticRegression and Reparametrized, beside NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks import (
    LogisticRegression,
    OptimizationProblem,
    Quadratic,
    Reparametrized,
    Rosenbrock,
)

SEED = tf.constant([3, 14], "int64")
STEP = tf.constant([2**40, 5], "int64")
PROBLEMS = [
    Quadratic(4),
    Rosenbrock(3),
    LogisticRegression(5, 40),
    LogisticRegression(5, 40, batch_size=8),
    Reparametrized(Quadratic(4), (0.01, 100.0), (0.5, 2.0)),
]
NAMES = ["quadratic", "rosenbrock", "logistic", "logistic_batches", "reparametrized"]


def numpy_of(nest):
    return [part.numpy() for part in tf.nest.flatten(nest)]


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_a_problem_depends_on_its_seed_alone(problem):
    modes = [
        problem.sample,
        tf.function(problem.sample, autograph=False),
        tf.function(problem.sample, autograph=False, jit_compile=True),
    ]
    samples = [numpy_of(mode(SEED)) for mode in modes]
    for sample in samples[1:]:
        for one, other in zip(samples[0], sample, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    mapped = tf.vectorized_map(
        lambda seed: tuple(problem.sample(seed)), tf.stack([SEED, SEED + 1])
    )
    first, second = (
        numpy_of(tf.nest.map_structure(lambda part, i=i: part[i], mapped))
        for i in range(2)
    )
    for one, other in zip(samples[0], first, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert any(
        not np.allclose(one, other) for one, other in zip(first, second, strict=True)
    )
    shapes = [parameter.shape for parameter in problem.sample(SEED).parameters]
    assert shapes == problem.parameter_shapes


def test_quadratic_by_hand():
    (matrix, target), [start] = Quadratic(4, initial_scale=2.0).sample(SEED)
    problem = Quadratic(4)
    w = np.array([1.0, -2.0, 0.5, 3.0], "float32")
    expected = np.sum((matrix.numpy() @ w - target.numpy()) ** 2)
    loss = problem.loss((matrix, target), [tf.constant(w)])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    solution = np.linalg.solve(np.float64(matrix), np.float64(target))
    least = problem.loss((matrix, target), [tf.constant(solution, "float32")])
    np.testing.assert_allclose(least, problem.optimum((matrix, target)), atol=1e-6)
    _, [small] = problem.sample(SEED)
    np.testing.assert_allclose(start, 200.0 * small, rtol=1e-5)


def test_quadratics_are_standard_normal():
    seeds = tf.stack([tf.zeros(300, "int64"), tf.range(300, dtype="int64")], 1)
    (matrix, target), _ = tf.vectorized_map(
        lambda seed: tuple(Quadratic(6).sample(seed)), seeds
    )
    for values in (matrix.numpy(), target.numpy()):
        assert abs(values.mean()) < 4 / np.sqrt(values.size)
        assert abs(values.std() - 1) < 4 / np.sqrt(values.size)


def test_rosenbrock_by_hand():
    problem = Rosenbrock(3, curvature=100.0)
    c, [start] = problem.sample(SEED)
    np.testing.assert_allclose(c, 100.0, rtol=1e-5)
    assert np.abs(start).max() <= 2.0
    # (1 - 2)^2 + 100 (1 - 4)^2 + (1 - 1)^2 + 100 (3 - 1)^2
    loss = problem.loss(c, [tf.constant([2.0, 1.0, 3.0])])
    np.testing.assert_allclose(loss, 1 + 900 + 400, rtol=1e-5)
    assert float(problem.loss(c, [tf.ones(3)])) == float(problem.optimum(c)) == 0.0


def test_logistic_regression_by_hand():
    problem = LogisticRegression(5, 40, penalty=0.1)
    (x, y), start = problem.sample(SEED)
    assert all(not p.numpy().any() for p in start)
    assert set(np.unique(y)) == {0.0, 1.0}
    w, bias = np.linspace(-1, 1, 5), 0.3
    p = 1 / (1 + np.exp(-(x.numpy() @ w + bias)))
    expected = -np.mean(np.where(y.numpy() == 1, np.log(p), np.log(1 - p)))
    expected += 0.1 * np.sum(w**2)
    parameters = [tf.constant(w, "float32"), tf.constant(bias, "float32")]
    loss = problem.loss((x, y), parameters, STEP)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_batch_of_a_step_is_drawn_by_its_seed():
    problem = LogisticRegression(5, 40, batch_size=8, penalty=0.0)
    data, _ = problem.sample(SEED)
    parameters = [tf.ones(5), tf.zeros(())]
    first = problem.loss(data, parameters, STEP)
    assert float(first) == float(problem.loss(data, parameters, STEP))
    losses = [
        float(problem.loss(data, parameters, STEP + tf.constant([0, i], "int64")))
        for i in range(400)
    ]
    whole = LogisticRegression(5, 40, penalty=0.0).loss(data, parameters, STEP)
    error = np.std(losses) / 20
    assert abs(np.mean(losses) - float(whole)) < 4 * error
    assert error > 0.005


def test_reparametrized_is_the_same_loss_in_other_units():
    inside = LogisticRegression(5, 40)
    problem = Reparametrized(inside, (0.01, 100.0), (0.5, 2.0))
    (data, scales), parameters = problem.sample(SEED)
    np.testing.assert_array_equal(data[0], inside.sample(SEED).data[0])
    assert [s.shape for s in scales] == [p.shape for p in parameters]
    spread = scales[0].numpy() / scales[0].numpy().max()
    assert 0.25 <= spread.min() < 0.9
    at = [tf.linspace(0.1, 0.5, 5), tf.constant(2.0)]
    with tf.GradientTape() as tape:
        tape.watch(at)
        loss = problem.loss((data, scales), at, STEP)
    gradients = tape.gradient(loss, at)
    moved = [a * s for a, s in zip(at, scales, strict=True)]
    with tf.GradientTape() as tape:
        tape.watch(moved)
        own = inside.loss(data, moved, STEP)
    assert float(loss) == float(own)
    for g, inner, s in zip(gradients, tape.gradient(own, moved), scales, strict=True):
        np.testing.assert_allclose(g, inner * s, rtol=1e-4)


def test_scales_of_nested_problems_are_their_own():
    inner = Reparametrized(Quadratic(2), (0.01, 100.0))
    (data, outer), _ = Reparametrized(inner, (0.01, 100.0)).sample(SEED)
    assert not np.allclose(outer[0], data[1][0], rtol=0.01)


def test_tensor_scales_fill_their_range_in_the_logarithm():
    problem = Reparametrized(Quadratic(2), (0.01, 100.0))
    logs = [
        np.log10(problem.sample(tf.constant([0, i], "int64")).data[1][0].numpy())
        for i in range(200)
    ]
    assert all(np.ptp(pair) < 1e-5 for pair in logs)
    first = np.array(logs)[:, 0]
    assert first.min() < -1.8
    assert first.max() > 1.8
    assert abs(first.mean()) < 0.35


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(0), "`dimensions` must be an integer >= 1"),
        (lambda: Quadratic(initial_scale=-1.0), "`initial_scale` must be finite"),
        (lambda: Rosenbrock(1), r"`dimensions` must be an int >= 2.*dimensions=1"),
        (lambda: Rosenbrock(curvature=(0, 1)), "`curvature` must be above 0"),
        (lambda: LogisticRegression(features=0), "`features` must be an integer"),
        (lambda: LogisticRegression(batch_size=0), "`batch_size` must be an integer"),
        (lambda: LogisticRegression(penalty=-1.0), "`penalty` must be finite"),
        (lambda: Reparametrized(Quadratic(), (2, 1)), "`tensor_scales` must be finite"),
        (
            lambda: Reparametrized(Quadratic(), coordinate_scales=(0.0, 1.0)),
            "`coordinate_scales` must be above 0",
        ),
    ],
)
def test_arguments_that_cannot_work(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_only_problems_are_reparametrized():
    with pytest.raises(TypeError, match="OptimizationProblem`. Received: str"):
        Reparametrized("quadratic")


def test_what_a_subclass_must_write():
    class Nothing(OptimizationProblem):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must implement `sample"):
        Nothing().sample(SEED)
    with pytest.raises(NotImplementedError, match=r"Nothing must implement `loss"):
        Nothing().loss((), [], SEED)
    assert Nothing().optimum(()) is None


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_facts_for_a_card_are_plain(problem):
    import json

    facts = problem.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["class_name"] == type(problem).__name__
