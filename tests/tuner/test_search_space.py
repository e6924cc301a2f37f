"""The map between a KerasTuner space and points, beside KerasTuner's own values."""

import keras_tuner
import numpy as np
import pytest

from keras_meta.tuner.search_space import SearchSpace


def everything():
    """Every kind of hyperparameter, and scopes inside of scopes."""
    hp = keras_tuner.HyperParameters()
    hp.Int("batch", 16, 512, sampling="log")
    hp.Int("layers", 1, 5)
    hp.Int("stepped", 0, 100, step=7)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("momentum", 0.1, 0.99)
    hp.Float("fifths", 0.0, 1.0, step=0.2)
    hp.Float("tens", 0.001, 10.0, step=10, sampling="log")
    hp.Float("reverse", 0.1, 10.0, sampling="reverse_log")
    hp.Boolean("norm")
    hp.Fixed("version", 3)
    hp.Choice("order", [1, 2, 4])
    kind = hp.Choice("kind", ["a", "b", "c"])
    assert kind
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("units", 1, 10)
    with hp.conditional_scope("kind", ["b", "c"]):
        hp.Int("units", 100, 1000)
        hp.Boolean("deep")
        with hp.conditional_scope("deep", [True]):
            hp.Float("depth", 0.0, 1.0)
    return hp


def space_of(hp):
    return SearchSpace(hp.get_config()["space"])


def random_values(hp, seed):
    """Values as KerasTuner's random search draws them."""
    drawn = keras_tuner.HyperParameters()
    for one in hp.space:
        drawn.merge([one])
        if drawn.is_active(one):
            drawn.values[one.name] = one.random_sample(seed)
    return drawn.values


@pytest.mark.parametrize("seed", range(40))
def test_values_of_keras_tuner_come_back(seed):
    hp = everything()
    space = space_of(hp)
    values = random_values(hp, seed)
    point = space.point(values)
    assert ((point >= 0.0) & (point <= 1.0)).all()
    received = space.values(point)
    assert list(received) == list(values)
    for name, value in values.items():
        assert type(received[name]) is type(value)
        assert received[name] == pytest.approx(value)


def test_many_points_are_snapped_as_one_by_one():
    space = space_of(everything())
    points = np.random.default_rng(0).random((200, space.width))
    snapped = space.snap(points)
    expected = [space.point(space.values(point)) for point in points]
    np.testing.assert_allclose(snapped, expected, atol=1e-12)
    np.testing.assert_allclose(space.snap(snapped), snapped, atol=1e-12)


def test_samples_are_drawn_as_keras_tuner_draws_them():
    hp = everything()
    space = space_of(hp)
    ours = [space.values(p) for p in space.sample(np.random.default_rng(0), 2000)]
    theirs = [random_values(hp, seed) for seed in range(2000)]
    for name in ("kind", "norm", "layers", "order", "stepped"):
        for value in {v[name] for v in theirs}:
            shares = [
                np.mean([v[name] == value for v in all_]) for all_ in (ours, theirs)
            ]
            assert shares[0] == pytest.approx(shares[1], abs=0.04)
    for name in ("rate", "momentum", "reverse", "batch"):
        quantiles = [
            np.quantile([v[name] for v in all_], [0.25, 0.5, 0.75])
            for all_ in (ours, theirs)
        ]
        np.testing.assert_allclose(quantiles[0], quantiles[1], rtol=0.15)


def test_conditions_decide_what_is_active():
    space = space_of(everything())
    for point in space.sample(np.random.default_rng(1), 100):
        values = space.values(point)
        assert ("depth" in values) == (values["kind"] != "a" and values["deep"])
        low, high = (1, 10) if values["kind"] == "a" else (100, 1000)
        assert low <= values["units"] <= high


def test_moves_stay_in_the_space_and_keep_what_does_not_change():
    space = space_of(everything())
    generator = np.random.default_rng(2)
    points = space.sample(generator, 50)
    still = space.moved(points, np.zeros_like(points), points > 2.0, generator)
    np.testing.assert_array_equal(still, points)
    moves = generator.normal(size=points.shape)
    moved = space.snap(space.moved(points, moves, moves > 0.0, generator))
    assert ((moved >= 0.0) & (moved <= 1.0)).all()
    kinds = {space.values(point)["kind"] for point in moved}
    assert kinds == {"a", "b", "c"}


def past(**changes):
    trial = {"rate": 0.01, "layers": 3, "norm": True, "kind": "a"}
    return trial | changes


def small_space():
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 1e-3, 1e-1, sampling="log")
    hp.Int("layers", 1, 5)
    hp.Choice("kind", ["a", "b"])
    return space_of(hp)


def test_past_trials_of_other_spaces():
    space = small_space()
    trials = [
        past(),
        past(rate=1.0),  # beyond the range
        past(rate=0.0),  # no logarithm
        past(kind="z"),  # no such choice
        {"layers": 2},  # lacks two
        past(layers="three"),
        past(layers=9),
    ]
    rows, points = space.past_points(trials)
    assert rows == [0, 1, 4, 6]
    np.testing.assert_allclose(points[0], [0.5, 0.5, 1.0, 0.0], atol=1e-12)
    assert points[1][0] == pytest.approx(1.5)
    np.testing.assert_allclose(points[2], [0.5, 0.3, 0.5, 0.5])
    assert points[3][1] == pytest.approx(1.7)


def test_past_trials_under_another_name():
    space = small_space()
    trial = {"learning_rate": 0.1, "layers": 1, "kind": "b"}
    [point] = space.past_points([trial], {"learning_rate": "rate"})[1]
    assert point[0] == pytest.approx(1.0)
    assert space.shared_names(["learning_rate"], {"learning_rate": "rate"}) == ["rate"]
    assert space.shared_names(["other"]) == []


def test_a_space_without_anything_that_varies():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("version", 3)
    space = space_of(hp)
    assert space.width == 0
    assert space.values(space.sample(np.random.default_rng(0), 1)[0]) == {"version": 3}


def test_a_kind_that_is_not_known():
    with pytest.raises(ValueError, match="must be a Boolean.*Received: 'Complex', 'z'"):
        SearchSpace([{"class_name": "Complex", "config": {"name": "z"}}])


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
def test_a_step_of_very_many_values_is_kept(sampling):
    hp = keras_tuner.HyperParameters()
    if sampling == "linear":
        hp.Int("w", 3, 100_000, step=8)
        allowed = set(range(3, 100_001, 8))
    else:
        hp.Float("w", 1.0, 1e9, step=1.001, sampling=sampling)
    space = SearchSpace(hp.get_config()["space"])
    points = space.sample(np.random.default_rng(0), 50)
    for point in points:
        value = space.values(point)["w"]
        if sampling == "linear":
            assert value in allowed
        else:
            value = value if sampling == "log" else 1.0 + 1e9 - value
            power = np.log(value) / np.log(1.001)
            assert power == pytest.approx(round(power), abs=1e-3)
        assert 1.0 <= value <= 1e9
    # Coordinates lead back to the value.
    value = space.values(points[0])
    np.testing.assert_allclose(
        space.values(space.point(value))["w"], value["w"], rtol=1e-9
    )
