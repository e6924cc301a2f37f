"""LearnedOptimizer: what it does for every rule; expected numbers by hand."""

import copy

import keras
import numpy as np
import pytest

from keras_meta.optimizers import SGD, LearnedOptimizer, MetaSGD


@keras.saving.register_keras_serializable("test_learned_optimizer")
class OneRate(LearnedOptimizer):
    """w - learning_rate * rate * (sum of all gradients so far)."""

    def initial_theta(self, shapes, seed):
        return {"rate": 0.5}

    def initial_state(self, theta, parameters):
        return {"sum": [keras.ops.zeros_like(p) for p in parameters], "count": 0.0}

    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
        total = [s + g for s, g in zip(state["sum"], gradients, strict=True)]
        rate = learning_rate * theta["rate"]
        new = [p - rate * t for p, t in zip(parameters, total, strict=True)]
        return new, {"sum": total, "count": state["count"] + 1.0}


def gradients_of(*arrays):
    return [keras.ops.convert_to_tensor(a, dtype="float32") for a in arrays]


def dense_model(units=2):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])


def test_slots_and_shared_state_are_carried_along():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = OneRate()
    for _ in range(2):
        optimizer.apply(gradients_of([0.2], [0.4]), variables)
    # sums 0.2, 0.4 and 0.4, 0.8: 1 - 0.5 * 0.6, 2 - 0.5 * 1.2
    np.testing.assert_allclose([v.numpy() for v in variables], [[0.7], [1.4]])
    names = [variable.name for variable in optimizer.variables]
    assert names == ["iteration", "learning_rate", "rate", "sum_0", "sum_1", "count"]
    assert float(optimizer.variables[-1].numpy()) == 2.0


def test_missing_gradient_keeps_its_slot_but_not_the_shared_state():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = OneRate()
    optimizer.apply(gradients_of([0.2], [0.4]), variables)
    optimizer.apply(gradients_of([0.4]), variables[1:])
    np.testing.assert_allclose([v.numpy() for v in variables], [[0.9], [1.4]])
    state = [float(v.numpy().squeeze()) for v in optimizer.variables[-3:]]
    np.testing.assert_allclose(state, [0.2, 0.8, 2.0], rtol=1e-6)


def test_a_rule_must_override_update():
    with pytest.raises(NotImplementedError) as caught:
        LearnedOptimizer().apply(gradients_of([1.0]), [keras.Variable([1.0])])
    assert str(caught.value) == (
        "LearnedOptimizer must override `update(theta, state, gradients, parameters, "
        "step, learning_rate)`."
    )


def test_a_slot_must_hold_a_tensor_for_each_parameter():
    class WrongState(OneRate):
        def initial_state(self, theta, parameters):
            return {"sum": []}

    with pytest.raises(ValueError) as caught:
        WrongState().build([keras.Variable([1.0])])
    assert str(caught.value) == (
        "state['sum'] must hold one tensor for each parameter. Received: 0 for 1 "
        "parameters."
    )


@pytest.mark.parametrize("seed", [-1, 1.0, "a", True])
def test_seed_must_be_an_int(seed):
    with pytest.raises(ValueError) as caught:
        OneRate(seed=seed)
    assert str(caught.value) == (
        f"Argument `seed` must be an int >= 0 or None. Received: seed={seed!r}."
    )


# ---- theta -----------------------------------------------------------------------


def test_theta_is_what_set_theta_gave_before_and_after_build():
    optimizer = OneRate()
    assert not optimizer.has_theta
    optimizer.set_theta({"rate": 0.25})
    assert optimizer.has_theta and optimizer.preset == "set_theta"
    w = keras.Variable([1.0])
    optimizer.apply(gradients_of([1.0]), [w])
    np.testing.assert_allclose(w.numpy(), [0.75])
    optimizer.set_theta({"rate": 0.5})  # the sum starts again
    optimizer.apply(gradients_of([1.0]), [w])
    np.testing.assert_allclose(w.numpy(), [0.25])
    assert optimizer.theta_values() == {"rate": np.float32(0.5)}


def test_theta_values_are_copies():
    optimizer = MetaSGD()
    optimizer.set_theta({"rate/000": [0.5]})
    optimizer.theta_values()["rate/000"][:] = 9.0
    assert optimizer.theta_values()["rate/000"] == [0.5]


def test_theta_must_exist():
    with pytest.raises(ValueError) as caught:
        OneRate().theta_values()
    assert str(caught.value) == (
        "This OneRate has no theta yet. Build it on a model's variables "
        "(`optimizer.build(model.trainable_variables)`), or load one (`from_preset`, "
        "`set_theta`)."
    )


def test_theta_must_be_finite_all_of_it_or_nothing():
    optimizer = MetaSGD(seed=0)
    optimizer.build([keras.Variable([1.0, 2.0, 3.0]), keras.Variable([1.0])])
    before = optimizer.theta_values()
    wrong = {"rate/000": [1.0, 1.0, 1.0], "rate/001": [np.nan]}
    with pytest.raises(ValueError) as caught:
        optimizer.set_theta(wrong)
    assert str(caught.value) == (
        "theta['rate/001'] must be finite. Received: 1 values that are NaN or infinite."
    )
    for name, array in before.items():
        np.testing.assert_array_equal(optimizer.theta_values()[name], array)


@pytest.mark.parametrize(
    ("theta", "received"),
    [
        ({"rate": [1.0, 2.0]}, "[rate (2,)]"),
        ({"speed": 1.0}, "[speed ()]"),
        ({}, "[]"),
    ],
)
@pytest.mark.parametrize("built", [True, False])
def test_theta_of_other_names_or_shapes_raises(theta, received, built):
    optimizer = OneRate()
    with pytest.raises(ValueError) as caught:
        if built:
            optimizer.build([keras.Variable([1.0])])
        optimizer.set_theta(theta)
        optimizer.build([keras.Variable([1.0])])
    assert str(caught.value) == (
        "The learned values of this OneRate belong to another architecture. Expected "
        f"for this model: [rate ()]. Received: {received}. Call "
        "`optimizer.adapt_to(model)` to fit them to this model, and compile with the "
        "optimizer that it returns."
    )


def test_adapt_to_copies_a_theta_that_does_not_depend_on_the_model():
    optimizer = OneRate(learning_rate=0.5)
    optimizer.set_theta({"rate": 0.25})
    adapted = optimizer.adapt_to(dense_model())
    assert adapted is not optimizer
    assert adapted.theta_values() == {"rate": np.float32(0.25)}
    assert float(adapted.learning_rate.numpy()) == 0.5


# ---- config, weights, files ------------------------------------------------------


def test_a_config_that_names_a_preset_does_not_step_without_its_theta():
    optimizer = OneRate()
    optimizer.set_theta({"rate": 0.25}, preset="mine")
    copied = OneRate.from_config(optimizer.get_config())
    w = keras.Variable([1.0])
    with pytest.raises(RuntimeError) as caught:
        copied.apply(gradients_of([1.0]), [w])
    assert str(caught.value) == (
        "This OneRate was rebuilt from its config, which names preset 'mine' but does "
        "not hold its learned values, and nothing was loaded since. Load the `.keras` "
        "file or the weights it was saved with, or make a new one with "
        "`OneRate.from_preset(...)`."
    )
    assert w.numpy() == [1.0]
    copied.set_theta({"rate": 0.25})
    copied.apply(gradients_of([1.0]), [w])
    np.testing.assert_allclose(w.numpy(), [0.75])


def test_keras_file_of_a_learned_theta_steps_without_the_preset(tmp_path):
    optimizer = OneRate()
    optimizer.set_theta({"rate": 0.25}, preset="mine")
    model = dense_model()
    model.compile(optimizer=optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(1)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    before = restored.trainable_variables[1].numpy()
    restored.optimizer.apply(
        gradients_of(np.zeros((3, 2)), [1.0, 1.0]), restored.trainable_variables
    )
    after = restored.trainable_variables[1].numpy()
    np.testing.assert_allclose(before - after, [0.25, 0.25], rtol=1e-6)


@pytest.mark.parametrize("learned", [True, False])
def test_keras_file_of_a_model_that_was_never_fitted_loads(tmp_path, learned):
    optimizer = MetaSGD(learning_rate=0.5, seed=0)
    model = dense_model()
    if learned:
        shapes = [v.shape for v in model.trainable_variables]
        optimizer.set_theta(optimizer.initial_theta(shapes, 0), preset="mine")
    model.compile(optimizer=optimizer, loss="mse")
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert float(restored.learning_rate.numpy()) == 0.5
    # Random rates come from the seed again; a learned theta was not in the file.
    step = gradients_of(np.ones((3, 2)), np.ones(2)), restored._trainable_variables
    if learned:
        with pytest.raises(RuntimeError, match="names preset 'mine'"):
            restored.apply(*step)
        return
    restored.apply(*step)
    optimizer.build(model.trainable_variables)
    for name, array in optimizer.theta_values().items():
        np.testing.assert_array_equal(restored.theta_values()[name], array)


@pytest.mark.parametrize(
    ("num_arrays", "difference"), [(5, "1 variables fewer"), (7, "1 variables more")]
)
@pytest.mark.parametrize("built", [True, False])
def test_wrong_number_of_stored_variables_raises(num_arrays, difference, built):
    optimizer, variables = OneRate(), [keras.Variable([1.0]), keras.Variable([2.0])]
    stored = [3, 0.1, 0.25, [1.0], [1.0], 1.0, 1.0][:num_arrays]
    with pytest.raises(ValueError) as caught:
        if built:
            optimizer.build(variables)
        optimizer.load_own_variables(
            {str(i): np.array(a) for i, a in enumerate(stored)}
        )
        optimizer.build(variables)
    assert str(caught.value) == (
        f"The stored OneRate has {difference} than this one. Nothing was loaded into "
        "the optimizer: load it into the model it was saved from, with the same "
        "optimizer settings; for another model use `adapt_to(model)`."
    )
    assert optimizer.built == built


@pytest.mark.parametrize("built", [True, False])
def test_stored_variable_of_another_shape_raises(built):
    optimizer, variables = OneRate(), [keras.Variable([1.0])]
    stored = [3, 0.1, 0.25, [1.0, 2.0], 1.0]
    with pytest.raises(ValueError, match=r"another shape\. Received: \(2,\), expected"):
        if built:
            optimizer.build(variables)
        optimizer.load_own_variables(
            {str(i): np.array(a) for i, a in enumerate(stored)}
        )
        optimizer.build(variables)
    assert optimizer.built == built


def test_set_weights_takes_all_of_them_only():
    optimizer = OneRate()
    optimizer.build([keras.Variable([1.0])])
    weights = [v.numpy() for v in optimizer.variables]
    with pytest.raises(ValueError, match="The stored OneRate has 1 variables fewer"):
        optimizer.set_weights(weights[:-1])
    optimizer.set_weights([*weights[:2], np.float32(0.125), *weights[3:]])
    assert optimizer.theta_values() == {"rate": np.float32(0.125)}


def test_deepcopy_of_a_model_keeps_a_loaded_theta():
    optimizer = OneRate()
    optimizer.set_theta({"rate": 0.25}, preset="mine")
    model = dense_model()
    model.compile(optimizer=optimizer, loss="mse")
    optimizer.apply(
        gradients_of(np.ones((3, 2)), np.ones(2)), model.trainable_variables
    )
    copied = copy.deepcopy(model).optimizer
    assert copied.theta_values() == {"rate": np.float32(0.25)}
    assert copied.preset == "mine"


def test_rules_without_theta_step_whatever_their_config_names():
    optimizer = SGD.from_config({**SGD(0.5).get_config(), "preset": "mine"})
    w = keras.Variable([1.0])
    optimizer.apply(gradients_of([1.0]), [w])
    np.testing.assert_allclose(w.numpy(), [0.5])


class TwoSlots(LearnedOptimizer):
    """Returns its slots in another order than it was given, or under another name."""

    names = ("second", "first")

    def initial_state(self, theta, parameters):
        return {
            "first": [keras.ops.zeros_like(p) for p in parameters],
            "second": [keras.ops.ones_like(p) for p in parameters],
        }

    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
        values = dict(zip(("first", "second"), state.values(), strict=True))
        return parameters, {name: values.get(name, []) for name in self.names}


def test_state_is_written_back_by_name():
    optimizer = TwoSlots()
    optimizer.apply([[1.0]], [keras.Variable([1.0])])
    np.testing.assert_array_equal(optimizer._state_variables[0].numpy(), [0.0])
    np.testing.assert_array_equal(optimizer._state_variables[1].numpy(), [1.0])


def test_state_with_other_names_is_refused():
    optimizer = TwoSlots()
    optimizer.names = ("first",)
    with pytest.raises(ValueError, match=r"must return the state.*Received: \['first'"):
        optimizer.apply([[1.0]], [keras.Variable([1.0])])
