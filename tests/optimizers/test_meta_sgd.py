"""MetaSGD: expected numbers are hand arithmetic unless a test says NumPy."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import MetaSGD

G, W = [0.2, -0.4], [1.0, 2.0]


def dense_model(units=(4, 2), inputs=3):
    layers = [keras.layers.Dense(n) for n in units]
    return keras.Sequential([keras.Input((inputs,)), *layers])


def tensors(arrays):
    return [keras.ops.convert_to_tensor(a, dtype="float32") for a in arrays]


def one_update(optimizer, theta, gradients, parameters, learning_rate=1.0):
    names = {name: tensors([value])[0] for name, value in theta.items()}
    new, _ = optimizer.update(
        names, {}, tensors(gradients), tensors(parameters), 0, learning_rate
    )
    return [np.asarray(p) for p in new]


# ---- update ----------------------------------------------------------------------


def test_update_is_w_minus_alpha_times_g():
    [new] = one_update(MetaSGD(), {"rate/000": [0.5, 0.25]}, [G], [W])
    np.testing.assert_allclose(new, [0.9, 2.1], rtol=1e-6)


def test_learning_rate_multiplies_the_step():
    [new] = one_update(MetaSGD(), {"rate/000": [0.5, 0.25]}, [G], [W], 2.0)
    np.testing.assert_allclose(new, [0.8, 2.2], rtol=1e-6)


def test_negative_rate_climbs():
    [new] = one_update(MetaSGD(), {"rate/000": [-0.5, -0.25]}, [G], [W])
    np.testing.assert_allclose(new, [1.1, 1.9], rtol=1e-6)


def test_tensor_granularity_has_one_rate_for_each_variable():
    new = one_update(
        MetaSGD(granularity="tensor"),
        {"rate/000": 0.5, "rate/001": 2.0},
        [G, G],
        [W, W],
    )
    np.testing.assert_allclose(new, [[0.9, 2.2], [0.6, 2.8]], rtol=1e-6)


def test_layer_granularity_shares_a_rate_until_the_next_name():
    new = one_update(
        MetaSGD(granularity="layer"),
        {"rate/000": 0.5, "rate/002": 2.0},
        [G, G, G],
        [W, W, W],
    )
    np.testing.assert_allclose(new, [[0.9, 2.2], [0.9, 2.2], [0.6, 2.8]], rtol=1e-6)


def test_linear_map_is_eta0_plus_eta1_times_g():
    # rates 0.5 + 2 * 0.2 = 0.9 and 0.5 + 2 * -0.4 = -0.3; at twice the step.
    [new] = one_update(
        MetaSGD(rate_map="linear"),
        {"rate/000": [0.5, 0.5], "slope/000": [2.0, 2.0]},
        [G],
        [W],
        learning_rate=2.0,
    )
    np.testing.assert_allclose(new, [1.0 - 2 * 0.18, 2.0 - 2 * 0.12], rtol=1e-6)


def test_float64_parameters_keep_their_precision():
    parameter = keras.Variable([1.0], dtype="float64")
    MetaSGD(alpha_init=0.5).apply(
        [keras.ops.convert_to_tensor([1e-12], dtype="float64")], [parameter]
    )
    np.testing.assert_allclose(1.0 - parameter.numpy(), [5e-13], rtol=1e-3)


def test_weight_decay_is_scaled_by_the_effective_rate():
    # w - w * decay * learning_rate * |rate| - learning_rate * rate * g, by hand:
    # 1 - 0.1 * 2 * 0.5 - 2 * 0.5 * 0.2 = 0.7; 2 - 2 * 0.1 * 2 * 0.25 + 0.2 * -1.
    variable = keras.Variable(W)
    optimizer = MetaSGD(learning_rate=2.0, weight_decay=0.1)
    optimizer.set_theta({"rate/000": [0.5, -0.25]})
    optimizer.apply(tensors([G]), [variable])
    np.testing.assert_allclose(variable.numpy(), [0.7, 1.7], rtol=1e-6)


# ---- theta -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("parameter", {"000": (3, 4), "001": (4,), "002": (4, 2), "003": (2,)}),
        ("tensor", {"000": (), "001": (), "002": (), "003": ()}),
        ("layer", {"000": (), "002": ()}),
    ],
)
def test_theta_is_named_by_position_and_shaped_by_granularity(granularity, expected):
    optimizer = MetaSGD(granularity=granularity, rate_map="linear")
    optimizer.build(dense_model().trainable_variables)
    shapes = {name: array.shape for name, array in optimizer.theta_values().items()}
    rates = {f"rate/{name}": shape for name, shape in expected.items()}
    slopes = {f"slope/{name}": shape for name, shape in expected.items()}
    assert shapes == rates | slopes
    for name in slopes:
        np.testing.assert_array_equal(optimizer.theta_values()[name], 0.0)


def test_initial_rates_are_uniform_on_alpha_init():
    rates = MetaSGD().initial_theta([(200, 200)], seed=0)["rate/000"]
    assert rates.dtype == np.float32
    assert rates.min() >= np.float32(0.005) and rates.max() <= np.float32(0.1)
    # Uniform(a, b): mean (a + b) / 2, standard deviation (b - a) / sqrt(12). The
    # bounds are five standard errors of 40,000 draws: 0.027 / 200 each, and less.
    assert abs(rates.mean() - 0.0525) < 5 * 0.02742 / 200
    assert abs(rates.std() - 0.095 / np.sqrt(12)) < 5 * 0.02742 / 200


def test_initial_rates_depend_on_the_seed_and_the_position_only():
    rates = MetaSGD().initial_theta([(5,), (5,)], seed=3)
    alone = MetaSGD().initial_theta([(5,)], seed=3)
    other = MetaSGD().initial_theta([(5,)], seed=4)
    np.testing.assert_array_equal(alone["rate/000"], rates["rate/000"])
    assert not np.array_equal(rates["rate/000"], rates["rate/001"])
    assert not np.array_equal(rates["rate/000"], other["rate/000"])


def test_two_optimizers_without_a_seed_differ_and_keep_theirs():
    first, second = MetaSGD(), MetaSGD()
    assert first.seed != second.seed
    assert MetaSGD.from_config(first.get_config()).seed == first.seed


def test_seed_zero_is_kept():
    assert MetaSGD(seed=0).seed == 0


def test_layer_granularity_needs_paths():
    with pytest.raises(
        ValueError,
        match=r'granularity="layer" needs the parameters\' paths\. Received: 2 shapes '
        r"without paths\. Pass a dict from path to shape\.",
    ):
        MetaSGD(granularity="layer").initial_theta([(2,), (3,)], seed=0)


# ---- arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    "alpha_init", [0.0, -0.1, (0.1, 0.05), (0.0, 0.1), (0.1,), True, "a", float("inf")]
)
def test_alpha_init_must_be_positive(alpha_init):
    with pytest.raises(ValueError) as caught:
        MetaSGD(alpha_init=alpha_init)
    assert str(caught.value) == (
        "Argument `alpha_init` must be > 0, a float or a pair (low, high) with low <= "
        f"high. Received: alpha_init={alpha_init!r}."
    )


@pytest.mark.parametrize(
    ("argument", "choices"),
    [
        ("granularity", "['parameter', 'tensor', 'layer']"),
        ("rate_map", "['constant', 'linear']"),
    ],
)
def test_choices_are_listed_in_the_error(argument, choices):
    with pytest.raises(ValueError) as caught:
        MetaSGD(**{argument: "model"})
    assert str(caught.value) == (
        f"Argument `{argument}` must be one of {choices}. Received: {argument}='model'."
    )


@pytest.mark.parametrize("rate", [-1e-9, float("inf"), float("nan")])
def test_hypergradient_rate_must_be_finite_and_not_negative(rate):
    with pytest.raises(ValueError) as caught:
        MetaSGD(hypergradient_rate=rate)
    assert str(caught.value) == (
        "Argument `hypergradient_rate` must be finite and >= 0. Received: "
        f"hypergradient_rate={rate!r}."
    )


def test_config_holds_every_argument():
    arguments = {
        "alpha_init": [0.01, 0.02],
        "granularity": "layer",
        "rate_map": "linear",
        "online": True,
        "hypergradient_rate": 0.5,
        "seed": 7,
        "learning_rate": 0.25,
    }
    config = MetaSGD.from_config(MetaSGD(**arguments).get_config()).get_config()
    assert {name: config[name] for name in arguments} == arguments


def test_bare_name_compiles():
    assert isinstance(keras.optimizers.get("meta_sgd"), MetaSGD)
    assert isinstance(keras.optimizers.get("keras_meta>MetaSGD"), MetaSGD)
    model = dense_model()
    model.compile(optimizer="meta_sgd", loss="mse")
    assert isinstance(model.optimizer, MetaSGD)
