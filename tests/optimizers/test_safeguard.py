"""`Safeguarded` and `OptimizerLog`: a bad rule is held back, and says so."""

import csv

import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.optimizers import SGD, MetaAdam, OptimizerLog, Safeguarded


class Rule(keras_meta.LearnedOptimizer):
    """Moves each weight by a number that a test chooses for each step."""

    moves = ()

    def initial_state(self, theta, parameters):
        return {"steps": keras.ops.zeros((), "float32")}

    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
        moves = keras.ops.take(np.asarray(self.moves, "float32"), step)
        state = {"steps": state["steps"] + 1.0}
        return [p + moves for p in parameters], state


def rule_with(*moves):
    made = Rule()
    made.moves = moves
    return made


def inner_state(optimizer, name):
    state = zip(optimizer._state_keys, optimizer._state_variables, strict=True)
    return np.array(dict(state)[(name, None)])


def test_a_trusted_step_is_the_rules_own():
    plain, guarded = SGD(0.1, momentum=0.9, seed=0), SGD(0.1, momentum=0.9, seed=0)
    guarded = Safeguarded(guarded, limit=1e9)
    a, b = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    for gradient in np.random.default_rng(0).normal(size=(5, 2)).astype("float32"):
        plain.apply([gradient], [a])
        guarded.apply([gradient], [b])
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    assert guarded.safeguard_counters["trust"] == 1.0


def test_a_step_that_is_not_finite_is_skipped_state_and_all():
    optimizer = Safeguarded(rule_with(1e-3, float("nan"), 1e-3))
    w = keras.Variable([1.0])
    for _ in range(3):
        optimizer.apply([[1.0]], [w])
    assert optimizer.safeguard_counters["skipped_steps"] == 1
    assert inner_state(optimizer, "inner/steps") == 2.0
    assert w.numpy()[0] == pytest.approx(1.002, rel=1e-6)


def test_a_step_that_is_too_large_is_bounded_and_costs_trust():
    optimizer = Safeguarded(rule_with(5.0, 1e-3), limit=10.0, adam_rate=0.01)
    w = keras.Variable([1.0])
    optimizer.apply([[1.0]], [w])
    # Half of ten times Adam's 0.01 upwards, and half of Adam's step downwards.
    assert w.numpy()[0] == pytest.approx(1.0 + 0.5 * 0.1 - 0.5 * 0.01, rel=1e-4)
    counters = optimizer.safeguard_counters
    assert counters["bounded_steps"] == 1 and counters["trust"] == 0.5


def test_a_diverging_rule_ends_where_adam_does():
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 4)).astype("float32")
    y = x @ np.array([[1.0], [-2.0], [0.5], [3.0]], "float32")

    def final(optimizer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer, loss="mse", jit_compile=False)
        history = model.fit(x, y, batch_size=32, epochs=20, verbose=0).history["loss"]
        return history[-1], history[0]

    diverged, _ = final(SGD(1.5, seed=0))
    guarded = Safeguarded(SGD(1.5, seed=0), adam_rate=0.03)
    end, start = final(guarded)
    assert not diverged < 1e3
    assert end < 0.1 * start
    assert guarded.safeguard_counters["trust"] < 0.9


def test_it_is_saved_with_the_rule_that_it_guards(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(Safeguarded(keras_meta.MetaSGD(seed=0), limit=7.0), loss="mse")
    model.fit(x, x[:, :2], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(x, x[:, :2], verbose=0, shuffle=False)
    assert loaded.optimizer.limit == 7.0
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_what_cannot_be_guarded_is_refused():
    with pytest.raises(TypeError, match="must be a `keras_meta.LearnedOptimizer`"):
        Safeguarded(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="`limit` must be"):
        Safeguarded(SGD(0.1), limit=0.0)


def test_the_log_reaches_history_and_files(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    x[5] = np.nan
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(MetaAdam(weights=None), loss="mse", jit_compile=False)
    path = tmp_path / "log.csv"
    history = model.fit(
        x,
        x[:, :2],
        batch_size=16,
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[OptimizerLog(), keras.callbacks.CSVLogger(path)],
    ).history
    assert history["optimizer_skipped_steps"] == [1, 2]
    assert history["optimizer_rate"] == pytest.approx([1e-3, 1e-3], rel=1e-5)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optimizer_skipped_steps"] for row in rows] == ["1", "2"]


def test_the_log_needs_such_an_optimizer():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    with pytest.raises(TypeError, match="needs a model compiled with"):
        model.fit(
            np.ones((4, 3)), np.ones((4, 1)), callbacks=[OptimizerLog()], verbose=0
        )
