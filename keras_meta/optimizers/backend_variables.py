"""What differs between Keras' backends when an optimizer makes, reads or writes."""

import contextlib

import keras
import numpy as np
from keras import ops

# TensorFlow's graphs of branches and loops, which are part of the trace around them.
CONTROL_FLOW = ("CondBranchFuncGraph", "WhileBodyFuncGraph", "WhileCondFuncGraph")


def eager_scope():
    """Returns a context in which operations run at once, also while Keras traces.

    Keras' `fit` builds an optimizer inside a TensorFlow trace that it throws away;
    the values that variables start from must not belong to that trace.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    return contextlib.nullcontext()


def initializer_of(array):
    """Returns an initializer that delivers `array`, whatever traces `build`."""
    array = np.asarray(array)

    def initializer(shape, dtype=None):
        if tuple(shape) != array.shape:
            raise ValueError(
                "A stored array does not fit the variable it belongs to. "
                f"Received: shape {array.shape} for a variable of shape "
                f"{tuple(shape)}. Load it into the model it was saved from."
            )
        return keras.ops.convert_to_tensor(array, dtype=dtype)

    return initializer


def is_sparse(gradient):
    """Whether a gradient is a `tf.IndexedSlices`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(gradient, tf.IndexedSlices)


def nonzero_rows(gradient):
    """Returns bool, shaped as `gradient`: whether a coordinate's row is not zero."""
    axes = tuple(range(1, len(gradient.shape)))
    touched = ops.any(ops.not_equal(gradient, 0.0), axis=axes, keepdims=True)
    return ops.broadcast_to(touched, gradient.shape)


def dense_float_tensor(value):
    """Returns `value` as a dense tensor of at least float32 precision.

    Sparse gradients (`tf.IndexedSlices`, sparse tensors) are densified: rows that a
    batch did not touch have gradient zero. float16 and bfloat16 become float32.
    """
    if is_sparse(value):
        import tensorflow as tf

        value = tf.convert_to_tensor(value)
    value = keras.ops.convert_to_tensor(value, sparse=False)
    if keras.backend.standardize_dtype(value.dtype) in ("float16", "bfloat16"):
        value = keras.ops.cast(value, "float32")
    return value


def is_eager(variable):
    """Whether the value of `variable` can be read now, outside of any trace."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly()
    if backend == "jax":
        import jax

        return not isinstance(getattr(variable, "value", variable), jax.core.Tracer)
    return True


def sum_over_replicas(optimizer, gradients, variables):
    """Returns the gradients summed over the replicas of a `tf.distribute` strategy."""
    if keras.backend.backend() != "tensorflow":
        return gradients
    pairs = optimizer._all_reduce_sum_gradients(zip(gradients, variables, strict=True))
    return [gradient for gradient, _ in pairs]


def note_loss(optimizer, loss):
    """Keeps the loss for the step that follows in the same trace. TensorFlow only."""
    if keras.backend.backend() == "tensorflow":
        optimizer._noted_loss = lambda: loss  # In a function: Keras tracks nothing.


def taken_loss(optimizer):
    """Returns the noted loss as a float32 scalar; None if there is none.

    None with several replicas, too: each of them is traced while others wait, so that
    a noted loss may be another one's.
    """
    noted = getattr(optimizer, "_noted_loss", None)
    optimizer._noted_loss = None
    if noted is None:
        return None
    import tensorflow as tf

    loss = noted()
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return None
    if not _is_of_this_trace(loss):
        return None
    return tf.reduce_mean(tf.cast(loss, "float32"))  # of one number, mostly


def _is_of_this_trace(loss):
    """Whether `loss` belongs to this trace, or to the one whose branch or loop it is.

    A loss of another function's trace would be captured as it was when that function
    was first called, or not at all.
    """
    import tensorflow as tf

    if tf.executing_eagerly():
        return not tf.is_symbolic_tensor(loss)
    graph = tf.compat.v1.get_default_graph()
    if not tf.is_symbolic_tensor(loss):
        return False
    while graph is not loss.graph and type(graph).__name__ in CONTROL_FLOW:
        graph = graph.outer_graph
    return graph is loss.graph


def assign_all(optimizer, variables, values):
    """Writes each value to its variable, on every replica alike."""
    values = [
        keras.ops.cast(value, variable.dtype)
        for variable, value in zip(variables, values, strict=True)
    ]
    if keras.backend.backend() != "tensorflow":
        for variable, value in zip(variables, values, strict=True):
            optimizer.assign(variable, value)
        return
    import tensorflow as tf

    tf.__internal__.distribute.interim.maybe_merge_call(
        _assign_in_strategy,
        optimizer._distribution_strategy,
        [getattr(variable, "value", variable) for variable in variables],
        values,
    )


def _assign_in_strategy(distribution, variables, values):
    for variable, value in zip(variables, values, strict=True):
        distribution.extended.update(variable, _assign, args=(value,), group=False)


def _assign(variable, value):
    variable.assign(value)
