"""MetaSGD(online=True): hypergradient descent, against NumPy and finite differences."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import MetaSGD

BETA = 0.01
CURVATURES = [np.array([[1.0, 3.0], [0.5, 2.0]]), np.array([4.0, -1.0])]
START = [np.array([[1.0, -0.5], [2.0, 0.3]]), np.array([0.7, 0.2])]


def gradient(parameters):
    """The gradient of sum(curvature * w ** 2) / 2."""
    return [c * w for c, w in zip(CURVATURES, parameters, strict=True)]


def numpy_run(rates, groups, num_steps, learning_rate):
    """Baydin et al. 2018, algorithm 4, in float64; one rate for each group.

    Args:
        rates: list of arrays, for each group the rate it starts from.
        groups: list of lists of parameter indices.
    """
    parameters, rates = [w.copy() for w in START], [np.array(r) for r in rates]
    previous = [np.zeros_like(w) for w in START]
    for _ in range(num_steps):
        current = gradient(parameters)
        for k, group in enumerate(groups):
            products = [current[i] * previous[i] for i in group]
            if np.ndim(rates[k]) == 0:
                products = [product.sum() for product in products]
            rates[k] = rates[k] + BETA * sum(products)
            for i in group:
                step = learning_rate * rates[k] * current[i]
                parameters[i] = parameters[i] - step
        previous = [learning_rate * g for g in current]
    return parameters, rates


@pytest.mark.parametrize("learning_rate", [1.0, 0.5])
@pytest.mark.parametrize(
    ("granularity", "groups"),
    [("parameter", [[0], [1]]), ("tensor", [[0], [1]]), ("layer", [[0, 1]])],
)
def test_rates_follow_their_hypergradients(granularity, groups, learning_rate):
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    variables = [layer.kernel, layer.bias]
    for variable, array in zip(variables, START, strict=True):
        variable.assign(array)
    optimizer = MetaSGD(
        learning_rate=learning_rate,
        granularity=granularity,
        online=True,
        hypergradient_rate=BETA,
        seed=1,
    )
    optimizer.build(variables)
    start = list(optimizer.theta_values().values())
    for _ in range(5):
        optimizer.apply(
            [
                keras.ops.convert_to_tensor(g, dtype="float32")
                for g in gradient([v.numpy() for v in variables])
            ],
            variables,
        )
    parameters, rates = numpy_run(start, groups, 5, learning_rate)
    adapted = {
        key: np.asarray(variable)
        for (key, _), variable in zip(
            optimizer._state_keys, optimizer._state_variables, strict=True
        )
    }
    for k, group in enumerate(groups):
        received = adapted[f"rate/{group[0]:03d}"]
        # Rates moved by more than a hundred times the tolerance.
        assert np.abs(rates[k] - start[k]).max() > 1e-3
        np.testing.assert_allclose(received, rates[k], atol=1e-5)
    for variable, expected in zip(variables, parameters, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-5)
    # Theta, what was learned across tasks, stays.
    for learned, array in zip(optimizer.theta_values().values(), start, strict=True):
        np.testing.assert_array_equal(learned, array)


def test_two_steps_by_hand():
    # g = w. Step 1: rate 0.5, w = 1 - 0.5 = 0.5. Step 2: the rate grows by
    # 0.1 * 0.5 * 1 to 0.55, w = 0.5 - 0.55 * 0.5 = 0.225.
    w = keras.Variable([1.0])
    optimizer = MetaSGD(alpha_init=0.5, online=True, hypergradient_rate=0.1)
    for expected in (0.5, 0.225):
        optimizer.apply([keras.ops.convert_to_tensor(w)], [w])
        np.testing.assert_allclose(w.numpy(), [expected], rtol=1e-6)


@pytest.mark.parametrize("granularity", ["parameter", "tensor"])
@pytest.mark.parametrize("learning_rate", [1.0, 0.5])
def test_slope_follows_the_loss_by_finite_differences(granularity, learning_rate):
    """eta1 moves by -hypergradient_rate * d loss / d eta1, of the step just taken."""
    slope, rate = 0.3, 0.2
    w, curvature = np.array([0.7, -1.2]), CURVATURES[1]

    def loss_after_one_step(slopes):
        g = curvature * w
        new = w - learning_rate * (rate + slopes * g) * g
        return 0.5 * np.sum(curvature * new**2)

    shape = (2,) if granularity == "parameter" else ()
    expected = np.zeros(shape)
    for index in np.ndindex(shape):
        shift = np.zeros(shape)
        shift[index] = 1e-5
        rise = loss_after_one_step(slope + shift) - loss_after_one_step(slope - shift)
        expected[index] = -BETA * rise / 2e-5
    variable = keras.Variable(w)
    optimizer = MetaSGD(
        learning_rate=learning_rate,
        granularity=granularity,
        rate_map="linear",
        online=True,
        hypergradient_rate=BETA,
    )
    optimizer.set_theta(
        {"rate/000": np.full(shape, rate), "slope/000": np.full(shape, slope)}
    )
    for _ in range(2):
        optimizer.apply(
            [keras.ops.convert_to_tensor(curvature * variable.numpy(), "float32")],
            [variable],
        )
    index = optimizer._state_keys.index(("slope/000", None))
    moved = np.asarray(optimizer._state_variables[index]) - np.float32(slope)
    assert np.abs(expected).min() > 1e-4
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-6)


def test_weight_decay_follows_the_adapted_rate():
    # As by hand above: rates 0.5 and then 0.55. 1 * (1 - 0.1 * 0.5) - 0.5 * 1 = 0.45.
    # Then g = 0.45: the decay still sees rate 0.5: 0.45 * 0.95 = 0.4275, and the rate
    # becomes 0.5 + 0.1 * 0.45 = 0.545: 0.4275 - 0.545 * 0.45 = 0.18225.
    w = keras.Variable([1.0])
    optimizer = MetaSGD(
        alpha_init=0.5, online=True, hypergradient_rate=0.1, weight_decay=0.1
    )
    for expected in (0.45, 0.18225):
        optimizer.apply([keras.ops.convert_to_tensor(w)], [w])
        np.testing.assert_allclose(w.numpy(), [expected], rtol=1e-6)


def test_new_theta_starts_the_running_rates_again():
    w = keras.Variable([1.0])
    optimizer = MetaSGD(alpha_init=0.5, online=True, hypergradient_rate=0.1)
    optimizer.apply([[1.0]], [w])
    optimizer.set_theta({"rate/000": [0.25]})
    w.assign([1.0])
    optimizer.apply([[1.0]], [w])  # 1 - 0.25: no last direction any more
    np.testing.assert_allclose(w.numpy(), [0.75], rtol=1e-6)


def test_zero_hypergradient_rate_is_meta_sgd():
    both = [keras.Variable([1.0, 2.0]) for _ in range(2)]
    for variable, online in zip(both, (True, False), strict=True):
        optimizer = MetaSGD(online=online, hypergradient_rate=0.0, seed=0)
        for _ in range(3):
            optimizer.apply([keras.ops.convert_to_tensor(variable)], [variable])
    np.testing.assert_array_equal(both[0].numpy(), both[1].numpy())
