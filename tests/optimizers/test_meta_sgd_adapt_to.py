"""MetaSGD.adapt_to: rates learned on one model, fitted to another."""

import keras
import numpy as np
import pytest

from keras_meta.optimizers import MetaSGD


def dense_model(*units, inputs=3, names=None):
    names = names or [None] * len(units)
    layers = [
        keras.layers.Dense(n, name=name) for n, name in zip(units, names, strict=True)
    ]
    return keras.Sequential([keras.Input((inputs,)), *layers])


def learned(model, **kwargs):
    """Rates 0.01, 0.02, ... for the entries of theta, one value an entry."""
    optimizer = MetaSGD(seed=0, **kwargs)
    optimizer.build(model.trainable_variables)
    theta = {
        name: np.full(array.shape, 0.01 * (i + 1))
        for i, (name, array) in enumerate(optimizer.theta_values().items())
    }
    optimizer.set_theta(theta)
    return optimizer


def means(optimizer):
    return {k: round(float(v.mean()), 6) for k, v in optimizer.theta_values().items()}


def test_same_architecture_matches_by_position_under_other_names():
    source = dense_model(4, 2)
    target = dense_model(4, 2, names=["first", "second"])
    optimizer = learned(source)
    adapted = optimizer.adapt_to(target, strict=True)
    assert means(adapted) == {
        "rate/000": 0.01,
        "rate/001": 0.02,
        "rate/002": 0.03,
        "rate/003": 0.04,
    }
    assert not adapted.built
    assert optimizer.adapt_to(target) is not optimizer


def test_keras_numbering_of_a_second_model_does_not_matter():
    source, target = dense_model(4, 2), dense_model(4, 5)
    assert source.trainable_variables[0].path != target.trainable_variables[0].path
    adapted = learned(source).adapt_to(target)
    # The hidden layer by path and shape; the output by the mean of its path.
    assert adapted.theta_values()["rate/002"].shape == (4, 5)
    assert means(adapted)["rate/000"] == 0.01
    assert means(adapted)["rate/002"] == 0.03
    with pytest.raises(ValueError) as caught:
        learned(source).adapt_to(target, strict=True)
    assert str(caught.value) == (
        "With strict=True every variable must match one that was learned, by path and "
        f"shape. Received model {target.name!r}, in which 2 did not: dense_1/kernel "
        "(4, 5) was learned with shape (4, 2); dense_1/bias (5,) was learned with "
        "shape (2,). Use strict=False to fill them with means."
    )


def test_further_layers_get_the_mean_of_their_kind():
    adapted = learned(dense_model(4, 2)).adapt_to(dense_model(4, 2, 7))
    # Kernels 0.01 of 12 entries and 0.03 of 8: (0.12 + 0.24) / 20 = 0.018.
    assert means(adapted)["rate/004"] == 0.018
    # Biases 0.02 of 4 entries and 0.04 of 2: (0.08 + 0.08) / 6.
    assert means(adapted)["rate/005"] == round(0.16 / 6, 6)


def test_unknown_kinds_get_the_mean_of_all():
    target = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(center=False)]
    )
    optimizer = learned(dense_model(1))  # kernel 0.01 of 3 entries, bias 0.02 of 1
    assert means(optimizer.adapt_to(target)) == {"rate/000": 0.0125}
    with pytest.raises(
        ValueError,
        match=r"batch_normalization/gamma \(3,\) was not learned, nor any of its kind",
    ):
        optimizer.adapt_to(target, strict=True)


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        (
            "tensor",
            {"rate/000": 0.01, "rate/001": 0.02, "rate/002": 0.03, "rate/003": 0.04},
        ),
        ("layer", {"rate/000": 0.01, "rate/002": 0.02}),
    ],
)
def test_coarse_rates_fit_layers_of_any_size(granularity, expected):
    optimizer = learned(dense_model(4, 2), granularity=granularity)
    adapted = optimizer.adapt_to(dense_model(9, 5, inputs=7), strict=True)
    assert means(adapted) == expected


def test_slopes_are_adapted_as_rates_are():
    optimizer = learned(dense_model(4), rate_map="linear")
    adapted = optimizer.adapt_to(dense_model(6))
    assert means(adapted) == {
        "rate/000": 0.01,
        "rate/001": 0.02,
        "slope/000": 0.03,
        "slope/001": 0.04,
    }


@pytest.mark.parametrize("granularity", ["parameter", "tensor", "layer"])
def test_theta_without_paths_matches_by_shape(granularity):
    model = dense_model(4, 2)
    theta = learned(model, granularity=granularity).theta_values()
    optimizer = MetaSGD(granularity=granularity)
    optimizer.set_theta(theta)
    adapted = optimizer.adapt_to(dense_model(4, 2), strict=True).theta_values()
    assert list(adapted) == list(theta)
    for name, array in theta.items():
        np.testing.assert_array_equal(adapted[name], array)


def test_adapted_optimizer_keeps_settings_and_trains():
    optimizer = learned(dense_model(4), clipnorm=0.5, granularity="tensor")
    target = dense_model(6)
    adapted = optimizer.adapt_to(target)
    assert adapted.clipnorm == 0.5 and adapted.preset == "set_theta"
    start = target.trainable_variables[1].numpy()
    gradients = [np.zeros((3, 6), "float32"), np.full(6, 0.1, "float32")]
    adapted.apply(
        [keras.ops.convert_to_tensor(g) for g in gradients], target.trainable_variables
    )
    # The bias' rate is 0.02: it moves by 0.02 * 0.1, as the norm is below 0.5.
    moved = start - target.trainable_variables[1].numpy()
    np.testing.assert_allclose(moved, 0.002, rtol=1e-5)


def test_another_architecture_without_adapt_to_raises():
    optimizer = MetaSGD()
    optimizer.set_theta(
        {"rate/000": np.ones((3, 4)), "rate/001": np.ones(4)},
        [("a/kernel", (3, 4)), ("a/bias", (4,))],
    )
    with pytest.raises(ValueError) as caught:
        optimizer.build(dense_model(5).trainable_variables)
    assert str(caught.value) == (
        "The learned values of this MetaSGD belong to another architecture. Expected "
        "for this model: [rate/000 (3, 5), rate/001 (5,)]. Received: [rate/000 (3, 4), "
        "rate/001 (4,)], learned on ['a/kernel (3, 4)', 'a/bias (4,)']. Call "
        "`optimizer.adapt_to(model)` to fit them to this model, and compile with the "
        "optimizer that it returns."
    )


def test_model_must_be_built():
    model = keras.Sequential([keras.layers.Dense(2)], name="lazy")
    with pytest.raises(ValueError) as caught:
        learned(dense_model(4)).adapt_to(model)
    assert str(caught.value) == (
        "Argument `model` must be built and have trainable variables. Received: model "
        "'lazy', built=False. Call it on data or give it a `keras.Input` first."
    )


def test_rates_must_exist():
    with pytest.raises(ValueError, match="This MetaSGD has no theta yet"):
        MetaSGD().adapt_to(dense_model(4))


@pytest.mark.parametrize("known", [True, False])
def test_rates_are_matched_by_name_in_whatever_order_theta_comes(known):
    model = dense_model(4, 2)
    optimizer = learned(model, rate_map="linear")
    target = dense_model(4, 2) if not known else dense_model(5, 2)
    specs = optimizer.parameter_specs if known else None
    found = []
    for turned in (list, lambda items: list(reversed(items))):
        given = MetaSGD(rate_map="linear", seed=0)
        given.set_theta(dict(turned(optimizer.theta_values().items())), specs)
        found.append(means(given.adapt_to(target)))
    assert found[0] == found[1]
    # Entries of theta: four rates, 0.01 to 0.04, then four slopes, 0.05 to 0.08.
    assert [found[0][f"rate/{i:03d}"] for i in range(4)] == [0.01, 0.02, 0.03, 0.04]
    assert [found[0][f"slope/{i:03d}"] for i in range(4)] == [0.05, 0.06, 0.07, 0.08]
