"""Checks of unusual gradients: missing, sparse, reordered, half precision, infinite."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_meta.testing.optimizer_problem import (
    GRADIENTS,
    NUM_STEPS,
    START,
    apply_all,
    arrays_of,
    assert_equal_bits,
    assert_same_run,
    fail,
    fit,
    make_model,
    reference_run,
    tensors,
    twin_of,
)

INDEX_REMEDY = "Index state by `_get_variable_index(variable)`, never by position."
FLOAT32_REMEDY = (
    'Make them with `add_variable(..., dtype="float32")`, not from a reference '
    "variable or the global policy."
)


def missing_gradients(make_optimizer):
    """A None leaves its variable and its slots alone, with Keras' warning."""

    def without_second(step, _):
        return [None if i == 1 else g for i, g in enumerate(GRADIENTS[step])]

    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, without_second)
    variables = make_model().trainable_variables
    optimizer.build(variables)
    slots = [
        variable
        for variable, (_, index) in zip(
            optimizer._state_variables, optimizer._state_keys, strict=True
        )
        if index == 1
    ]
    before = arrays_of(slots)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        apply_all(optimizer, variables, without_second)
    what = "A variable without a gradient must stay, and so must its slots."
    assert_equal_bits(variables[1:2], START[1:2], what, INDEX_REMEDY)
    assert_equal_bits(slots, before, what, INDEX_REMEDY)
    what = "A missing gradient must not disturb the other variables."
    assert_same_run(variables, expected, what, INDEX_REMEDY)
    if not any("Gradients do not exist" in str(w.message) for w in caught):
        fail(
            "A missing gradient must give Keras' warning.",
            f"{len(caught)} other warnings.",
            "Do not override `_filter_empty_gradients`.",
        )


def subsets_in_another_order(make_optimizer):
    """`apply` on some variables, in any order, steps those and keeps their slots."""
    orders = ((3, 0), (2, 1, 3), (0, 3), (1, 0, 2, 3))

    def chosen(step, _):
        return [g if i in orders[step] else None for i, g in enumerate(GRADIENTS[step])]

    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, chosen)
    variables = make_model().trainable_variables
    optimizer.build(variables)
    for step, order in enumerate(orders):
        optimizer.apply(
            tensors(GRADIENTS[step][i] for i in order), [variables[i] for i in order]
        )
    what = "A subset of the variables, in any order, must be stepped each by its own."
    assert_same_run(variables, expected, what, INDEX_REMEDY)


def no_gradient_at_all(make_optimizer):
    """No gradient for any variable is Keras' error; an empty list does nothing."""
    variables = make_model().trainable_variables
    optimizer = make_optimizer()
    optimizer.apply([], [])
    try:
        optimizer.apply([None] * 4, variables)
    except ValueError as error:
        if "No gradients provided" in str(error):
            return
        raise
    fail(
        "`apply` without any gradient must raise Keras' ValueError.",
        "no error.",
        "Do not override `_filter_empty_gradients`.",
    )


def integer_learning_rate(make_optimizer):
    """An int is refused, as Keras' optimizers do."""
    try:
        make_optimizer(learning_rate=1)
    except ValueError as error:
        if "learning_rate" in str(error):
            return
        raise
    fail(
        "An int `learning_rate` must raise Keras' ValueError.",
        "no error.",
        "Pass `learning_rate` on to `super().__init__` as it is.",
    )


def sparse_gradients(make_optimizer):
    """`tf.IndexedSlices`, with repeated rows, equal the dense gradient.

    Of a rule that moves without a gradient, rows that the batch did not touch stay.
    """
    import tensorflow as tf

    rows = np.array([2, 0, 2])
    values = np.stack([g[0][:3, 0] for g in GRADIENTS])[:, :, None] * np.ones(4)
    values = values.astype("float32")  # (NUM_STEPS, 3 rows, 4)

    def dense(step, _):
        gradient = np.zeros_like(START[0])
        np.add.at(gradient, rows, values[step])
        return [gradient, *GRADIENTS[step][1:]]

    def touched(step):
        present = [np.full(array.shape, True) for array in START]
        present[0][1] = not optimizer.moves_without_gradient
        return present

    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, dense, present_at=touched)
    variables = make_model().trainable_variables
    for step in range(NUM_STEPS):
        slices = tf.IndexedSlices(values[step], rows, tf.constant(START[0].shape))
        optimizer.apply([slices, *tensors(GRADIENTS[step][1:])], variables)
    what = "`tf.IndexedSlices` must give the step of the dense gradient."
    remedy = "Densify with `tf.convert_to_tensor`, which sums repeated rows."
    assert_same_run(variables, expected, what, remedy)


def half_precision_variables(make_optimizer):
    """bfloat16 and float16 weights: float32 theta and state, steps rounded once."""
    for dtype, digits in (("bfloat16", 8), ("float16", 11)):
        optimizer = make_optimizer()
        exact = twin_of(optimizer)
        variables = [keras.Variable(array, dtype=dtype) for array in START]
        twins = [keras.Variable(_rounded(dtype, array)) for array in START]
        gradients = tensors(_rounded(dtype, array) for array in GRADIENTS[0])
        optimizer.apply([ops.cast(g, dtype) for g in gradients], variables)
        exact.apply(gradients, twins)
        _assert_float32(optimizer, f"{dtype} variables")
        what = f"{dtype} weights and gradients must be computed with in float32."
        for v, e in zip(variables, arrays_of(twins), strict=True):
            error = np.abs(arrays_of([ops.cast(v, "float32")])[0] - e)
            if not (error <= np.abs(e) * 2.0**-digits + 1e-6).all():
                remedy = "Cast parameters and gradients up, and round once, at last."
                fail(what, f"an error of {error.max():.3g}.", remedy)


def mixed_precision_policies(make_optimizer):
    """mixed_bfloat16, bfloat16 and mixed_float16 in `fit`: float32 theta and state."""
    policy = keras.config.dtype_policy()
    try:
        for name in ("mixed_bfloat16", "bfloat16", "mixed_float16"):
            keras.config.set_dtype_policy(name)
            optimizer = make_optimizer()
            model = make_model(optimizer)
            before = arrays_of([ops.cast(v, "float32") for v in model.weights])
            fit(model)
            after = arrays_of([ops.cast(v, "float32") for v in model.weights])
            _assert_float32(optimizer, f"policy {name}")
            moves = [np.abs(a - b).max() for a, b in zip(after, before, strict=True)]
            if not 0.0 < max(moves) < 1e5:
                fail(
                    f"`fit` under policy {name} must train.",
                    f"a largest move of {max(moves)}.",
                    "Cast gradients to float32 before the rule sees them.",
                )
    finally:
        keras.config.set_dtype_policy(policy)


def loss_scale_optimizer(make_optimizer):
    """`LossScaleOptimizer`: scaled steps are equal; an infinite one changes nothing."""
    inner = make_optimizer()
    expected, _ = reference_run(inner)
    variables = make_model().trainable_variables
    outer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=32.0)
    outer.build(variables)
    for step in range(2):
        _apply_scaled(outer, variables, [32.0 * g for g in GRADIENTS[step]])
    before = arrays_of([*variables, *inner.variables])
    infinite = [np.full_like(START[0], np.inf), *GRADIENTS[2][1:]]
    _apply_scaled(outer, variables, infinite)
    what = "A batch with infinite gradients must leave weights and state alone."
    remedy = "Write weights and state in `apply` only, through what `update` returns."
    assert_equal_bits([*variables, *inner.variables], before, what, remedy)
    for step in range(2, 4):
        # That batch halved the scale.
        _apply_scaled(outer, variables, [16.0 * g for g in GRADIENTS[step]])
    what = "Under `LossScaleOptimizer` the steps must be those of the rule."
    assert_same_run(variables, expected, what, remedy)


EVERYWHERE = (
    missing_gradients,
    subsets_in_another_order,
    no_gradient_at_all,
    integer_learning_rate,
    half_precision_variables,
    mixed_precision_policies,
    loss_scale_optimizer,
)
TENSORFLOW_ONLY = (sparse_gradients,)


def _apply_scaled(outer, variables, gradients):
    if keras.backend.backend() != "jax":
        outer.apply(tensors(gradients), variables)
        return
    # On JAX `LossScaleOptimizer` has no other way than Keras' trainer's.
    targets = [*variables, *outer.variables]
    new_weights, new_own = outer.stateless_apply(
        [v.value for v in outer.variables],
        tensors(gradients),
        [v.value for v in variables],
    )
    for variable, value in zip(targets, [*new_weights, *new_own], strict=True):
        variable.assign(value)


def _rounded(dtype, array):
    """Returns `array` rounded to `dtype`, as float32."""
    return arrays_of([ops.cast(ops.cast(array, dtype), "float32")])[0]


def _assert_float32(optimizer, where):
    own = [*optimizer._theta_variables, *optimizer._state_variables]
    for variable in own:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype != "float32":
            fail(
                f"theta and state must stay float32 with {where}.",
                f"{variable.name!r} in {dtype}.",
                FLOAT32_REMEDY,
            )
