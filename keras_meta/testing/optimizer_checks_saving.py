"""Checks that a saved optimizer goes on where it stopped, or says why it cannot."""

import copy
import json
import os
import tempfile

import keras
import numpy as np
from keras.optimizers.schedules import PiecewiseConstantDecay

from keras_meta.testing.optimizer_problem import (
    apply_all,
    arrays_of,
    assert_equal_bits,
    fail,
    fit,
    make_model,
    twin_of,
)

MAX_CONFIG_BYTES = 4096
VARIABLES_REMEDY = (
    "Keep theta and state in variables made with `add_variable`, and leave "
    "`save_own_variables` and `load_own_variables` alone."
)
RAISE_REMEDY = (
    "Raise in `load_own_variables`: Keras' own warns, and training goes on from "
    "nothing."
)


def keras_file_continues(make_optimizer):
    """A `.keras` file restores weights and optimizer to the bit, and goes on so."""
    for settings in (
        {},
        {
            "use_ema": True,
            "gradient_accumulation_steps": 2,
            "learning_rate": PiecewiseConstantDecay([2], [0.5, 0.25]),
            "weight_decay": 0.1,
        },
    ):
        model = make_model(make_optimizer(**settings))
        apply_all(model.optimizer, model.trainable_variables, steps=range(3))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.keras")
            model.save(path)
            restored = keras.saving.load_model(path)
        _assert_continues(restored, model, "A `.keras` file", _train)


def load_weights_before_build(make_optimizer):
    """`load_weights` into an optimizer that is not built, then a compiled `fit`."""
    optimizer = make_optimizer()
    twin = twin_of(optimizer)
    model = make_model(optimizer)
    apply_all(model.optimizer, model.trainable_variables, steps=range(2))
    restored = make_model(twin)
    _save_and_load_weights(model, restored)
    _assert_continues(restored, model, "`load_weights` before the first step", fit)


def deep_copy_continues(make_optimizer):
    """`copy.deepcopy(model)` goes on as the model does."""
    model = make_model(make_optimizer())
    apply_all(model.optimizer, model.trainable_variables, steps=range(2))
    _assert_continues(copy.deepcopy(model), model, "`copy.deepcopy`", _train)


def wrong_variables_raise(make_optimizer):
    """Stored arrays too many, too few or of another shape raise; nothing is loaded."""
    source = make_optimizer()
    variables = make_model().trainable_variables
    apply_all(source, variables, steps=range(1))
    stored = {str(i): array for i, array in enumerate(arrays_of(source.variables))}
    last = len(stored) - 1
    wrong = {
        "one array too many": {**stored, str(last + 1): np.zeros((2,), "float32")},
        "another shape": {**stored, str(last): np.zeros((7, 7), "float32")},
    }
    if last > 1:
        wrong["one array too few"] = {k: stored[k] for k in list(stored)[:-1]}
    what = "Loading arrays that do not fit must raise a ValueError."
    for kind, arrays in wrong.items():
        for built in (True, False):
            optimizer = make_optimizer()
            variables = make_model().trainable_variables
            if built:
                optimizer.build(variables)
            before = arrays_of(optimizer.variables)
            try:
                optimizer.load_own_variables(arrays)
                optimizer.build(variables)
            except ValueError:
                if built:
                    after = "A load that raises must change nothing."
                    assert_equal_bits(optimizer.variables, before, after, RAISE_REMEDY)
                continue
            where = "a built optimizer" if built else "one that is not built"
            fail(what, f"{kind}, into {where}: no error.", RAISE_REMEDY)


def config_is_small_and_complete(make_optimizer):
    """`get_config` is small JSON; what is made from it takes the same steps."""
    optimizer = make_optimizer(weight_decay=0.1, clipnorm=2.0)
    optimizer.build(make_model().trainable_variables)
    text = json.dumps(optimizer.get_config())
    if len(text) > MAX_CONFIG_BYTES:
        fail(
            f"`get_config` must be at most {MAX_CONFIG_BYTES} bytes of JSON.",
            f"{len(text)}.",
            "Keep arrays in variables; the config holds names and scalars.",
        )
    original = make_optimizer(weight_decay=0.1, clipnorm=2.0)
    what = "An optimizer made from its config must have the same config and steps."
    remedy = (
        "Return every argument of `__init__` from `get_config`, and register the "
        "class with `keras.saving.register_keras_serializable`."
    )
    copies = [twin_of(original)]
    if not original.has_theta:
        serialized = json.dumps(keras.optimizers.serialize(original))
        copies.append(keras.optimizers.deserialize(json.loads(serialized)))
    variables = make_model().trainable_variables
    apply_all(original, variables)
    for made in copies:
        others = make_model().trainable_variables
        apply_all(made, others)
        assert_equal_bits(others, arrays_of(variables), what, remedy)
        received, expected = (
            {k: v for k, v in x.get_config().items() if k != "preset"}
            for x in (made, original)
        )
        if received != expected:
            fail(what, f"{received} for {expected}.", remedy)


CHECKS = (
    keras_file_continues,
    load_weights_before_build,
    deep_copy_continues,
    wrong_variables_raise,
    config_is_small_and_complete,
)


def _save_and_load_weights(model, restored):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        restored.load_weights(path)


def _train(model):
    apply_all(model.optimizer, model.trainable_variables)


def _assert_continues(restored, model, how, train):
    what = f"{how} must restore weights and optimizer bit for bit."
    _assert_equal_models(restored, model, what)
    train(restored)
    train(model)
    what = f"What {how} restored must go on bit for bit."
    _assert_equal_models(restored, model, what)


def _assert_equal_models(restored, model, what):
    assert_equal_bits(restored.weights, model.weights, what, VARIABLES_REMEDY)
    if restored.optimizer.built:
        received, expected = restored.optimizer.variables, model.optimizer.variables
        assert_equal_bits(received, expected, what, VARIABLES_REMEDY)
