"""Checks of the rule itself: what `initial_theta` and `update` promise."""

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.parameter_specs import specs_of
from keras_meta.testing.optimizer_problem import (
    GRADIENTS,
    START,
    arrays_of,
    assert_equal_bits,
    assert_same_run,
    fail,
    make_model,
    starting_theta,
    tensors,
)


def initial_theta_depends_on_the_seed_only(make_optimizer):
    """Same shapes and seed, same theta: float32, finite, named by strings."""
    optimizer = make_optimizer()
    shapes = {s.path: s.shape for s in specs_of(make_model().trainable_variables)}
    first, second = (optimizer.initial_theta(shapes, seed=5) for _ in range(2))
    what = "`initial_theta` must depend on its arguments only."
    remedy = "Draw from `np.random.default_rng(seed)`, not from a global generator."
    if list(first) != list(second):
        fail(what, f"names {list(first)}, then {list(second)}.", remedy)
    assert_equal_bits(_arrays(first), _arrays(second), what, remedy)
    for name, value in first.items():
        array = np.asarray(value, dtype="float32")
        if not isinstance(name, str) or not np.isfinite(array).all():
            fail(
                "theta must be finite arrays, named by strings.",
                f"theta[{name!r}] = {array.ravel()[:3]}.",
                "Check `initial_theta`.",
            )


def update_is_pure(make_optimizer):
    """Same inputs, same outputs; arguments, attributes and variables untouched."""
    optimizer = make_optimizer()
    optimizer.build(make_model().trainable_variables)
    before = arrays_of(optimizer.variables)
    theta, state = _start(make_optimizer, optimizer)
    names = {"theta": list(theta), "state": list(state)}
    outputs = [
        _flat(*_step(optimizer, theta, state, learning_rate=0.5)) for _ in range(3)
    ]
    remedy = (
        "Compute from the arguments alone: return new tensors, put what a run "
        "carries along into `state`."
    )
    what = "`update` must return the same for the same arguments."
    for output in outputs[1:]:
        assert_equal_bits(output, outputs[0], what, remedy)
    if names != {"theta": list(theta), "state": list(state)}:
        fail("`update` must not change its arguments.", "theta or state.", remedy)
    what = "`update` must not write variables."
    assert_equal_bits(optimizer.variables, before, what, remedy)


def update_keeps_shapes_and_dtypes(make_optimizer):
    """New parameters and state are shaped, typed and named as the old ones."""
    optimizer = make_optimizer()
    # JAX has no float64 unless a global switch is set.
    for dtype in ("float32", "float64")[: 1 + (keras.backend.backend() != "jax")]:
        theta, state = _start(make_optimizer, optimizer)
        parameters = [ops.convert_to_tensor(a, dtype=dtype) for a in START]
        gradients = [ops.convert_to_tensor(g, dtype=dtype) for g in GRADIENTS[0]]
        step = ops.convert_to_tensor(0, dtype="int32")
        new_parameters, new_state = optimizer.update(
            theta, state, gradients, parameters, step
        )
        _same_structure("parameters", {"": parameters}, {"": new_parameters}, True)
        _same_structure("state", state, new_state, dtype == "float32")


def learning_rate_multiplies_the_step(make_optimizer):
    """0 leaves the parameters, 0.5 halves the first step, and 1.0 is the default."""
    optimizer = make_optimizer()
    theta, state = _start(make_optimizer, optimizer)

    def move(**kwargs):
        new, _ = _step(optimizer, theta, state, **kwargs)
        return [n - s for n, s in zip(arrays_of(new), START, strict=True)]

    whole = move(learning_rate=1.0)
    zeros = [np.zeros_like(array) for array in START]
    for what, received, expected in (
        ("The default `learning_rate` of `update` must be 1.0.", move(), whole),
        (
            "`learning_rate=0.5` must halve the first step.",
            [2.0 * array for array in move(learning_rate=0.5)],
            whole,
        ),
        (
            "`learning_rate=0.0` must leave the parameters where they are.",
            [w + m for w, m in zip(whole, move(learning_rate=0.0), strict=True)],
            whole,
        ),
    ):
        remedy = "Multiply the step by the argument `learning_rate` in `update`."
        assert_same_run(received, expected, what, remedy, start=zeros)


def update_is_differentiable(make_optimizer):
    """The gradient with respect to theta is the slope that finite differences show."""
    optimizer = make_optimizer()
    theta, _ = _start(make_optimizer, optimizer)
    if not theta:
        return
    names = list(theta)
    values = [np.array(ops.convert_to_numpy(theta[name])) for name in names]
    generator = np.random.default_rng(3)
    direction = [generator.normal(size=value.shape) for value in values]
    weights = [generator.normal(size=array.shape) for array in START]

    def meta_loss(theta_tensors):
        theta = dict(zip(names, theta_tensors, strict=True))
        state = optimizer.initial_state(theta, tensors(START))
        new, _ = _step(optimizer, theta, state, learning_rate=1.0)
        return sum(
            ops.sum((n - s) * w)
            for n, s, w in zip(new, tensors(START), tensors(weights), strict=True)
        )

    def at(distance):
        moved = [v + distance * d for v, d in zip(values, direction, strict=True)]
        return float(ops.convert_to_numpy(meta_loss(tensors(moved))))

    slope = (at(0.01) - at(-0.01)) / 0.02
    gradients = _gradients(meta_loss, tensors(values))
    what = "`update` must be differentiable with respect to theta."
    remedy = (
        "Use `keras.ops` on theta throughout; no NumPy, no `stop_gradient`, no "
        "variables of the optimizer in `initial_state` and `update`."
    )
    if gradients is None:
        fail(what, "no gradient at all.", remedy)
    received = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    if not abs(received - slope) <= 0.05 * abs(slope) + 1e-3 or slope == 0.0:
        fail(
            what,
            f"slope {received:.4g}, where finite differences give {slope:.4g}.",
            remedy,
        )


CHECKS = (
    initial_theta_depends_on_the_seed_only,
    update_is_pure,
    update_keeps_shapes_and_dtypes,
    learning_rate_multiplies_the_step,
    update_is_differentiable,
)


def _start(make_optimizer, optimizer):
    source = make_optimizer() if optimizer.built else optimizer
    theta = starting_theta(source, make_model().trainable_variables)
    return theta, source.initial_state(theta, tensors(START))


def _step(optimizer, theta, state, **kwargs):
    step = ops.convert_to_tensor(0, dtype="int32")
    return optimizer.update(
        theta, state, tensors(GRADIENTS[0]), tensors(START), step, **kwargs
    )


def _flat(parameters, state):
    flat = list(parameters)
    for value in state.values():
        flat += list(value) if isinstance(value, (list, tuple)) else [value]
    return flat


def _arrays(theta):
    return [np.asarray(value, dtype="float32") for value in theta.values()]


def _same_structure(kind, old, new, compare_dtypes):
    what = f"`update` must return {kind} of the shapes and dtypes it received."
    remedy = "Cast with `ops.cast`, and return every entry of the dict or list."
    if list(old) != list(new):
        fail(what, f"entries {list(new)} for {list(old)}.", remedy)
    for name, value in old.items():
        pairs = [(value, new[name])]
        if isinstance(value, (list, tuple)):
            if len(value) != len(new[name]):
                fail(what, f"{len(new[name])} tensors for {len(value)}.", remedy)
            pairs = list(zip(value, new[name], strict=True))
        for before, after in pairs:
            shapes = tuple(before.shape), tuple(after.shape)
            dtypes = tuple(
                keras.backend.standardize_dtype(x.dtype) for x in (before, after)
            )
            if shapes[0] != shapes[1] or (compare_dtypes and dtypes[0] != dtypes[1]):
                fail(
                    what,
                    f"{shapes[1]} {dtypes[1]} for {shapes[0]} {dtypes[0]}"
                    + (f" in {name!r}." if name else "."),
                    remedy,
                )


def _gradients(function, values):
    """Returns the gradients as arrays, zeros where unconnected; None if none is."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = function(values)
        gradients = tape.gradient(loss, values)
    elif backend == "jax":
        import jax

        gradients = jax.grad(function)(values)
    else:
        import torch

        values = [value.detach().clone().requires_grad_() for value in values]
        loss = function(values)
        if not loss.requires_grad:
            return None
        gradients = torch.autograd.grad(loss, values, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        return None
    return [
        np.zeros(value.shape) if g is None else arrays_of([g])[0]
        for g, value in zip(gradients, values, strict=True)
    ]
