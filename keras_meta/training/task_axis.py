"""Many tasks at once: the map over tasks that a meta-step is made of."""

import logging

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
        elements: nest of concrete tensors, two or more tasks (TensorFlow leaves a
            single one unconverted).
        signature: as in `map_tasks`.
    """
    return can_trace(lambda: map_tasks(function, elements, "vectorize", signature))


def can_trace(function):
    """Whether TensorFlow can trace `function`, a Python callable without arguments."""
    traced = tf.function(function, autograph=False)
    # TensorFlow logs pages for an operation that it cannot convert.
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        traced.get_concrete_function()
    except (ValueError, TypeError, NotImplementedError):
        # No converter; or a fault of `function`, which its next trace raises again.
        return False
    finally:
        logger.setLevel(level)
    return True


def has_accelerator():
    """Whether there is a GPU or TPU."""
    devices = tf.config.list_logical_devices
    return bool(devices("GPU") or devices("TPU"))


def can_jit(function):
    """Whether XLA can lower `function`, a Python callable without arguments."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    try:
        compiled.experimental_get_compiler_ir()(stage="hlo")
    except (ValueError, TypeError, tf.errors.OpError):
        return False
    return True
