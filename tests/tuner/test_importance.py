"""Importance against functions whose shares of variance are known."""

import keras_tuner
import numpy as np
import pytest

from keras_meta.tuner import ExperiencePool, importance
from keras_meta.tuner.search_space import SearchSpace


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("strong", 0.0, 1.0)
    hp.Float("weak", 1e-4, 1.0, sampling="log")
    hp.Choice("kind", ["a", "b", "c"])
    hp.Float("idle", 0.0, 1.0)
    return hp


def pool_of(path, function, tasks=3, trials=80):
    pool = ExperiencePool(path)
    hp = space()
    points = SearchSpace(hp.get_config()["space"])
    for index in range(tasks):
        generator = np.random.default_rng(index)
        records = []
        for point in points.sample(generator, trials):
            values = points.values(point)
            records.append({"values": values, "score": function(values)})
        pool.add(f"task {index}", hp, records, "val_score", "max")
    return pool


def additive(values):
    """Variances of the parts: 9/12, 1/12 and 0: shares 0.9, 0.1, 0."""
    weak = (np.log10(values["weak"]) + 4.0) / 4.0
    return 3.0 * values["strong"] + weak


def test_shares_of_a_sum(tmp_path):
    found = importance(pool_of(tmp_path / "pool.sqlite", additive))
    assert found.names[:2] == ["strong", "weak"]
    for shares in (found.total, found.alone):
        assert shares["strong"][0] == pytest.approx(0.9, abs=0.06)
        assert shares["weak"][0] == pytest.approx(0.1, abs=0.06)
        assert shares["idle"][0] < 0.03
        assert shares["kind"][0] < 0.03
    share, low, high = found.total["strong"]
    assert low <= share <= high
    assert max(found.pairs.values()) < 0.05
    assert set(found.per_task) == {"task 0", "task 1", "task 2"}


def test_a_product_is_shared_by_two(tmp_path):
    def product(values):
        weak = (np.log10(values["weak"]) + 4.0) / 4.0
        return (values["strong"] - 0.5) * (weak - 0.5)

    found = importance(pool_of(tmp_path / "pool.sqlite", product))
    assert found.alone["strong"][0] < 0.15
    assert found.total["strong"][0] > 0.7
    pair, share = next(iter(found.pairs.items()))
    assert set(pair) == {"strong", "weak"}
    assert share > 0.6


def test_responses_follow_the_axes(tmp_path):
    def chosen(values):
        return {"a": 0.0, "b": 1.0, "c": 0.2}[values["kind"]] + values["strong"]

    found = importance(pool_of(tmp_path / "pool.sqlite", chosen))
    values, mean, low, high = found.responses["kind"]
    assert values == ["a", "b", "c"]
    assert mean.argmax() == 1
    assert (low <= mean).all() and (mean <= high).all()
    values, mean, *_ = found.responses["strong"]
    assert values[0] < values[-1]
    assert (np.diff(mean) > 0.0).all()


def test_lower_is_better(tmp_path):
    hp = space()
    points = SearchSpace(hp.get_config()["space"])
    records = [
        {"values": points.values(p), "score": points.values(p)["strong"]}
        for p in points.sample(np.random.default_rng(0), 40)
    ]
    pool = ExperiencePool(tmp_path / "pool.sqlite")
    pool.add("losses", hp, records, "val_loss", "min")
    _, mean, *_ = importance(pool).responses["strong"]
    assert (np.diff(mean) < 0.0).all()


def test_table_and_picture(tmp_path):
    found = importance(pool_of(tmp_path / "pool.sqlite", additive, tasks=2))
    rows = found.rows()
    assert [row[0] for row in rows] == found.names
    assert all(len(row) == 5 for row in rows)
    found.save_plot(tmp_path / "importance.png")
    assert (tmp_path / "importance.png").read_bytes()[:4] == b"\x89PNG"


def test_importance_of_a_path_and_of_an_objective_that_is_not_there(tmp_path):
    path = tmp_path / "pool.sqlite"
    pool_of(path, additive, tasks=1)
    assert importance(path).names[0] == "strong"
    with pytest.raises(ValueError, match=r"'val_scor'. It has: \['val_score'\]"):
        importance(path, objective="val_scor")


def test_what_never_varies_has_no_share(tmp_path):
    pool = pool_of(tmp_path / "pool.sqlite", additive, tasks=2)
    hp = keras_tuner.HyperParameters()
    hp.Fixed("strong", 0.5)
    trials = [{"values": {"strong": 0.5}, "score": 0.1 * i} for i in range(9)]
    pool.add("fixed", hp, trials, "val_score", "max")
    hp = keras_tuner.HyperParameters()
    hp.Float("strong", 0.0, 1.0)
    hp.Float("weak", 1e-4, 1.0, sampling="log")
    hp.Choice("kind", ["a"])
    trials = [
        {"values": {"strong": i / 9, "weak": 0.1, "kind": "a"}, "score": 0.1 * i}
        for i in range(9)
    ]
    pool.add("one choice", hp, trials, "val_score", "max")
    found = importance(pool)
    assert set(found.tasks) == {"task 0", "task 1", "one choice"}
    assert set(found.per_task["one choice"]) == {"strong", "weak"}
    assert found.names[0] == "strong"
    assert all(np.isfinite(share).all() for share in found.total.values())


def test_what_has_no_importance(tmp_path):
    pool = ExperiencePool(tmp_path / "pool.sqlite")
    with pytest.raises(ValueError, match="at least 6 scored trials"):
        importance(pool)
    trials = [{"values": {"strong": i / 9}, "score": 1.0} for i in range(9)]
    pool.add("flat", space(), trials, "val_score", "max")
    with pytest.raises(ValueError, match="whose scores and values differ"):
        importance(pool)
    with pytest.raises(ValueError, match="has no task called 'other'"):
        importance(pool, tasks=["other"])
    with pytest.raises(ValueError, match="must be an ExperiencePool"):
        importance([1, 2])
