"""Conformance suite for task distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_meta.tasks.task import Episode, TaskDistribution

if TYPE_CHECKING:
    from collections.abc import Iterable

# Float draws may differ by rounding between modes: XLA fuses multiply and add and
# has its own sine. Relative to the largest value of a tensor.
TOLERANCE = 1e-5


def check_tasks(
    distribution: TaskDistribution,
    seeds: Iterable[int] = (0, 1, 2),
    jit_compile: bool = True,
) -> list[str]:
    """Checks that `distribution` does what the trainer relies on.

    Checked are: `sample` returns an `Episode`; shapes are fixed, fully known and
    equal to `element_spec`; values are finite; support and query fit together; the
    same seed gives the same episode, other seeds other ones; and eager execution,
    `tf.function`, `tf.map_fn`, XLA and, where all ops have a converter,
    `tf.vectorized_map` give the same episodes.

    Args:
        distribution: `keras_meta.tasks.TaskDistribution`.
        seeds: sequence of at least 2 different ints >= 0.
        jit_compile: bool. False leaves out XLA, for distributions made of
            `tf.random.stateless_*`, whose numbers differ under XLA.

    Returns:
        list of str, the modes that were compared with eager execution.
        `"vectorized_map"` is missing where an op has no converter: such a
        distribution works, but the trainer maps over its tasks one by one.

    Raises:
        AssertionError: if a check fails; the message says which and what to do.
        ValueError: if there are fewer than 2 different seeds.

    Example:

    ```python
    from keras_meta.tasks import Sinusoid
    from keras_meta.testing import check_tasks

    print(check_tasks(Sinusoid(shots=5)))
    ```
    """
    seeds = list(seeds)
    if len(set(seeds)) < 2:
        raise ValueError(
            "Argument `seeds` must hold at least 2 different seeds. "
            f"Received: seeds={seeds}."
        )
    _require(
        isinstance(distribution, TaskDistribution),
        "it must be a TaskDistribution",
        f"got {type(distribution).__name__}",
        "Derive the class from keras_meta.tasks.TaskDistribution",
    )
    episodes = [distribution.sample(seed) for seed in seeds]
    for episode in episodes:
        _require(
            isinstance(episode, Episode),
            "`sample` must return an Episode",
            f"got {type(episode).__name__}",
            "End it with return Episode(support_x, support_y, query_x, query_y)",
        )
    spec = _run("tracing `sample`", lambda: distribution.element_spec)
    _check_spec(spec, episodes)
    _check_fit(spec)
    _check_finite(episodes, seeds)
    _check_purity(distribution, episodes, seeds)
    return _check_modes(distribution, episodes, seeds, jit_compile)


def _check_spec(spec, episodes):
    for name, field in zip(Episode._fields, spec, strict=True):
        for tensor in tf.nest.flatten(field):
            _require(
                tensor.shape.is_fully_defined() and tensor.shape.rank > 0,
                "shapes must be fully known, with a leading axis of examples",
                f"`{name}` has shape {tensor.shape} when traced",
                "Use Python ints for sizes, or add tf.ensure_shape",
            )
    expected = [(tensor.shape, tensor.dtype) for tensor in tf.nest.flatten(spec)]
    for episode in episodes:
        actual = [
            (tensor.shape, tf.as_dtype(tensor.dtype))
            for tensor in map(tf.convert_to_tensor, tf.nest.flatten(episode))
        ]
        _require(
            actual == expected,
            "every episode must have the shapes and dtypes of `element_spec`",
            f"expected {_name_all(expected)}, got {_name_all(actual)}",
            "Draw the same number of examples for every seed, and do not override "
            "`element_spec`",
        )


def _check_fit(spec):
    for part, x, y in (
        ("support", spec.support_x, spec.support_y),
        ("query", spec.query_x, spec.query_y),
    ):
        lengths = [tensor.shape[0] for tensor in tf.nest.flatten((x, y))]
        _require(
            len(set(lengths)) == 1,
            f"`{part}_x` and `{part}_y` must have the same number of examples",
            f"got {lengths}",
            "Cut inputs and targets at the same place",
        )
    for letter, support, query in (
        ("x", spec.support_x, spec.query_x),
        ("y", spec.support_y, spec.query_y),
    ):
        sides = [
            [(tensor.shape[1:], tensor.dtype) for tensor in tf.nest.flatten(side)]
            for side in (support, query)
        ]
        _require(
            sides[0] == sides[1],
            f"an example of `support_{letter}` and of `query_{letter}` must have the "
            "same shape and dtype",
            f"got {_name_all(sides[0])} and {_name_all(sides[1])}",
            "Make both parts by the same code",
        )


def _check_finite(episodes, seeds):
    for seed, episode in zip(seeds, episodes, strict=True):
        for name, field in zip(Episode._fields, episode, strict=True):
            for tensor in map(tf.convert_to_tensor, tf.nest.flatten(field)):
                _require(
                    not tensor.dtype.is_floating
                    or bool(tf.reduce_all(tf.math.is_finite(tensor))),
                    "values must be finite",
                    f"`{name}` has a NaN or an infinity at seed {seed}",
                    "Clean the data, or bound the draws",
                )


def _check_purity(distribution, episodes, seeds):
    for seed, episode in zip(seeds, episodes, strict=True):
        _require(
            _difference(episode, distribution.sample(seed)) == 0.0,
            "the same seed must give the same episode",
            f"two calls of sample({seed}) differ",
            "Draw from the seed only: no tf.random.uniform, NumPy or own counters",
        )
    _require(
        any(_difference(episodes[0], episode) > 0.0 for episode in episodes[1:]),
        "different seeds must give different episodes",
        f"seeds {seeds} all give the same one",
        "Use the argument `seed` in the draws",
    )


def _check_modes(distribution, episodes, seeds, jit_compile):
    sample = distribution.sample
    rows = tf.constant([[0, seed] for seed in seeds], tf.int64)  # (seeds, 2)
    # Keras traces training steps without autograph, so this does as well.
    graph = tf.function(sample, autograph=False)
    modes = {
        "an int64 seed tensor": lambda: _stack(map(sample, rows)),
        "tf.function": lambda: _stack(map(graph, rows)),
        "tf.map_fn": lambda: _map_in_graph(distribution, rows),
    }
    if jit_compile:
        compiled = tf.function(sample, autograph=False, jit_compile=True)
        modes["XLA"] = lambda: _stack(map(compiled, rows))
    vectorized = _trace_vectorized(sample, rows)
    if vectorized is not None:
        modes["tf.vectorized_map"] = vectorized
    expected = _stack(episodes)
    for mode, run in modes.items():
        difference = _difference(expected, _run(mode, run))
        _require(
            difference <= TOLERANCE,
            f"{mode} must give the same episodes as eager execution",
            f"the largest difference is {difference:.3g} of a tensor's largest value",
            "Draw with keras_meta.tasks.counter_random instead of tf.random.* (or "
            "pass jit_compile=False where only XLA differs), and keep Python state, "
            "NumPy draws and .numpy() out of `sample`",
        )
    return list(modes)


def _run(what, run):
    """Returns `run()`; whatever a user's code raises becomes a failed check."""
    try:
        return run()
    except Exception as error:
        raise AssertionError(
            f"check_tasks: {what} must work; it raised {type(error).__name__}: "
            f"{error} Use TensorFlow ops only, and no Python `if`, float() or "
            ".numpy() on a tensor."
        ) from error


def _map_in_graph(distribution, rows):
    @tf.function(autograph=False)
    def mapped():
        spec = distribution.element_spec
        return tf.map_fn(distribution.sample, rows, fn_output_signature=spec)

    return mapped()


def _trace_vectorized(sample, rows):
    """Returns a traced function, or None where an op has no converter."""

    @tf.function(autograph=False)
    def mapped():
        return tf.vectorized_map(sample, rows, fallback_to_while_loop=False)

    try:
        return mapped.get_concrete_function()
    except ValueError as error:
        if "No pfor vectorization" in str(error):
            return None
        raise


def _stack(episodes):
    return tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *episodes)


def _difference(first, second):
    """Largest difference, relative to each tensor's largest value if above 1.

    Tensors that are not floating count as 0 where equal, infinity where not.
    """
    largest = 0.0
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind == "f":
            scale = max(1.0, float(np.max(np.abs(a))))
            largest = max(largest, float(np.max(np.abs(a - b))) / scale)
        elif not np.array_equal(a, b):
            return np.inf
    return largest


def _name_all(pairs):
    return ", ".join(f"{dtype.name} {shape}" for shape, dtype in pairs)


def _require(condition, rule, finding, remedy):
    if not condition:
        raise AssertionError(f"check_tasks: {rule}; {finding}. {remedy}.")
