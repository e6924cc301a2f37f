"""The small problem on which optimizers are checked, and the runs they must equal.

A two-layer network with mean squared error. Its gradients are written out in NumPy,
so that the expected numbers owe nothing to the code that is checked.
"""

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.parameter_specs import specs_of

NUM_STEPS = 4
BATCH_SIZE = 4

_random = np.random.default_rng(20240607)
INPUTS = _random.normal(size=(8, 3)).astype("float32")
TARGETS = _random.normal(size=(8, 2)).astype("float32")
# kernel and bias of the hidden layer, kernel and bias of the output layer
START = tuple(
    _random.normal(scale=0.7, size=shape).astype("float32")
    for shape in ((3, 4), (4,), (4, 2), (2,))
)
# What checks without a model feed: gradients[step][parameter], about 1 each.
GRADIENTS = tuple(
    tuple(_random.normal(size=array.shape).astype("float32") for array in START)
    for _ in range(NUM_STEPS)
)


def make_model(optimizer=None, frozen=False, **compile_kwargs):
    """Returns the network with its starting weights, compiled if `optimizer` is given.

    Args:
        optimizer: `keras.optimizers.Optimizer` or None.
        frozen: bool, whether the hidden layer is not trained. Default False.
        **compile_kwargs: `jit_compile`, `run_eagerly`.
    """
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh", trainable=not frozen),
            keras.layers.Dense(2),
        ]
    )
    for variable, array in zip(model.weights, START, strict=True):
        variable.assign(array)
    if optimizer is not None:
        compile_kwargs.setdefault("jit_compile", False)
        model.compile(optimizer=optimizer, loss="mean_squared_error", **compile_kwargs)
    return model


def fit(model, epochs=2, callbacks=None, batch_size=BATCH_SIZE):
    """Runs two steps an epoch (one with `batch_size=8`), always on the same data."""
    return model.fit(
        INPUTS,
        TARGETS,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def gradients_of_batch(step, parameters, batch_size=BATCH_SIZE):
    """Returns the loss' gradients at step `step`, by the chain rule in float64.

    Args:
        step: int >= 0.
        parameters: list of the four arrays, in `START`'s order.
        batch_size: int, 4 or 8.
    """
    w1, b1, w2, _ = [np.asarray(p, dtype="float64") for p in parameters]
    start = step * batch_size % len(INPUTS)
    x = INPUTS[start : start + batch_size]
    y = TARGETS[start : start + batch_size]
    hidden = np.tanh(x @ w1 + b1)  # (batch_size, 4)
    error = 2.0 * (hidden @ w2 + parameters[3] - y) / y.size  # (batch_size, 2)
    back = (error @ w2.T) * (1.0 - hidden**2)  # (batch_size, 4)
    gradients = [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
    return [gradient.astype("float32") for gradient in gradients]


def fixed_gradients(step, parameters):
    """Returns gradients that do not depend on the parameters."""
    return list(GRADIENTS[step])


def tensors(arrays):
    """Returns float32 tensors; None stays None."""
    return [
        None if a is None else ops.convert_to_tensor(a, dtype="float32") for a in arrays
    ]


def arrays_of(variables):
    """Returns the values of variables or tensors as NumPy arrays."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def starting_theta(optimizer, variables):
    """Returns the theta that an optimizer which is not built starts from: tensors."""
    if optimizer.has_theta:
        theta = optimizer.theta_values()
    else:
        shapes = {spec.path: spec.shape for spec in specs_of(variables)}
        theta = optimizer.initial_theta(shapes, optimizer.seed)
    return {
        name: ops.convert_to_tensor(np.asarray(value, dtype="float32"))
        for name, value in theta.items()
    }


def learning_rate_of(optimizer):
    """Returns the current learning rate as a float."""
    return float(ops.convert_to_numpy(optimizer.learning_rate))


def reference_run(
    optimizer,
    gradients_at=fixed_gradients,
    num_steps=NUM_STEPS,
    learning_rates=None,
    decayed=(),
    after_step=None,
    trained=slice(None),
    present_at=None,
):
    """Runs the rule by hand: `initial_theta`, `initial_state`, then `update`.

    Args:
        optimizer: a `LearnedOptimizer`; only its pure functions are called.
        gradients_at: function of (step, parameters) that returns a list of arrays;
            None stands for a missing gradient.
        num_steps: int >= 1.
        learning_rates: list of floats, one a step. Default: the optimizer's.
        decayed: indices of the parameters that weight decay shrinks first.
        after_step: function of (step, parameters) that returns parameters.
        trained: slice, the parameters that there are. Default: all.
        present_at: function of step to a list of bool arrays, which coordinates have
            a gradient. Default: those whose gradient is not None.

    Returns:
        Tuple `(parameters, state)`: list of arrays, dict of arrays.
    """
    theta = starting_theta(optimizer, make_model().trainable_variables[trained])
    parameters = list(START[trained])
    state = optimizer.initial_state(theta, tensors(parameters))
    for step in range(num_steps):
        rate = learning_rates[step] if learning_rates else learning_rate_of(optimizer)
        gradients = gradients_at(step, parameters)
        present = [
            np.full(p.shape, g is not None)
            for g, p in zip(gradients, parameters, strict=True)
        ]
        if present_at is not None:
            present = present_at(step)
        old, old_state = list(parameters), state
        if decayed:
            scales = optimizer.decay_rates(theta, state, tensors(parameters))
            for i in decayed:
                scale = np.asarray(ops.convert_to_numpy(scales[i]), dtype="float32")
                shrink = np.float32(optimizer.weight_decay * rate) * scale
                parameters[i] = parameters[i] - parameters[i] * shrink
        new, state = optimizer.update(
            theta,
            state,
            tensors(
                np.zeros_like(p) if g is None else g
                for g, p in zip(gradients, parameters, strict=True)
            ),
            tensors(parameters),
            ops.convert_to_tensor(step, dtype="int32"),
            ops.convert_to_tensor(rate, dtype="float32"),
        )
        parameters = [
            np.where(mask, after, before)
            for mask, after, before in zip(present, arrays_of(new), old, strict=True)
        ]
        if not all(mask.all() for mask in present):
            masks = [ops.convert_to_tensor(mask) for mask in present]
            state = optimizer.kept_state(old_state, state, masks)
        if after_step is not None:
            parameters = after_step(step, parameters)
    return parameters, {name: _numpy(value) for name, value in state.items()}


def apply_all(optimizer, variables, gradients_at=fixed_gradients, steps=NUM_STEPS):
    """Calls `optimizer.apply` once a step; `steps` is a number or a range."""
    for step in range(steps) if isinstance(steps, int) else steps:
        optimizer.apply(tensors(gradients_at(step, arrays_of(variables))), variables)


def twin_of(optimizer):
    """Returns a fresh optimizer that starts as `optimizer`, not yet built, does."""
    config = {**optimizer.get_config(), "preset": None}
    twin = type(optimizer).from_config(config)
    if optimizer.has_theta:
        twin.set_theta(optimizer.theta_values(), optimizer.parameter_specs)
    return twin


def fail(what, received, remedy):
    """Raises the AssertionError of a check."""
    raise AssertionError(f"{what} Received: {received} {remedy}")


def assert_same_run(received, expected, what, remedy, start=START):
    """Asserts that two runs moved the parameters alike.

    The tolerance is a thousandth of the largest move, so that a run which does not
    move, or moves by half as much, cannot pass.

    Args:
        received, expected, start: lists of arrays or variables.
        what: str, the property, a sentence.
        remedy: str, what to do, a sentence.
    """
    received = arrays_of(received)
    moved = max(np.abs(e - s).max() for e, s in zip(expected, start, strict=True))
    if not 1e-5 < moved < 1e5:
        fail(
            "The rule itself must move the parameters, and stay finite.",
            f"a largest move of {moved:.3g} in the run of the pure `update`.",
            "Return a rule with a moderate step from `make_optimizer`.",
        )
    tolerance = 1e-3 * moved + 1e-6
    for i, (r, e) in enumerate(zip(received, expected, strict=True)):
        error = np.abs(r - e).max()
        if not error <= tolerance:
            fail(
                what,
                f"parameter {i} of shape {e.shape} is off by {error:.3g}, where the "
                f"run of the pure `update` moved by {moved:.3g}.",
                remedy,
            )


def assert_equal_bits(received, expected, what, remedy):
    """Asserts that two lists of variables or arrays are equal to the last bit."""
    received, expected = arrays_of(received), arrays_of(expected)
    if len(received) != len(expected):
        fail(what, f"{len(received)} arrays for {len(expected)}.", remedy)
    for i, (r, e) in enumerate(zip(received, expected, strict=True)):
        if r.shape != e.shape or r.dtype != e.dtype or not np.array_equal(r, e):
            difference = (
                f"differs by {np.abs(r.astype('float64') - e).max():.3g}"
                if r.shape == e.shape
                else f"has shape {r.shape} for {e.shape}"
            )
            fail(what, f"array {i} of {len(expected)} {difference}.", remedy)


def _numpy(value):
    if isinstance(value, (list, tuple)):
        return arrays_of(value)
    return arrays_of([value])[0]
