"""Many tasks at once: the map over tasks that a meta-step is made of."""

import tensorflow as tf

TASK_AXES = ("auto", "vectorize", "sequential")


def map_tasks(function, elements, task_axis, signature):
    """Applies `function` to each task and stacks what it returns.

    Args:
        function: maps the elements of one task to a nest of tensors.
        elements: nest of tensors with leading axis `(num_tasks,)`.
        task_axis: `"vectorize"`, all tasks in one wide operation (every operation of
            `function` needs a converter of `tf.vectorized_map`), or `"sequential"`,
            one task after another in the graph, with native kernels.
        signature: nest of `tf.TensorSpec`, what `function` returns for one task.

    Returns:
        The nest of `signature`, each tensor with leading axis `(num_tasks,)`.

    Raises:
        ValueError: if `task_axis="vectorize"` and an operation has no converter.
    """
    if task_axis == "vectorize":
        return tf.vectorized_map(function, elements, fallback_to_while_loop=False)
    return tf.map_fn(function, elements, fn_output_signature=signature)


def can_vectorize(function, elements, signature):
    """Whether every operation of `function` has a converter; traces it to find out.

    Args:
        function: as in `map_tasks`.
        elements: nest of concrete tensors, one or more tasks.
        signature: as in `map_tasks`.

    Raises:
        Whatever tracing `function` raises for reasons of its own.
    """
    try:
        tf.function(
            lambda: map_tasks(function, elements, "vectorize", signature),
            autograph=False,
        ).get_concrete_function()
    except (ValueError, TypeError, NotImplementedError):
        # Either no converter, or an error that the plain trace raises as well.
        tf.function(
            lambda: map_tasks(function, elements, "sequential", signature),
            autograph=False,
        ).get_concrete_function()
        return False
    return True


def can_jit(function):
    """Whether XLA can lower `function`, a Python callable without arguments."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    try:
        compiled.experimental_get_compiler_ir()(stage="hlo")
    except (ValueError, TypeError, tf.errors.OpError):
        return False
    return True
