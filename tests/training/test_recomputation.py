import numpy as np
import tensorflow as tf

from keras_meta.training.recomputation import recomputed


def cubed(scale, values, count):
    """d/dx scale x^3 = 3 scale x^2; the integer goes along without a gradient."""
    return {"values": scale * values["x"] ** 3, "count": count + 1}


def gradient_of(function, scale, x):
    with tf.GradientTape() as tape:
        tape.watch([scale, x])
        result = function(scale, {"x": x}, tf.constant(4))
        loss = tf.reduce_sum(result["values"] ** 2)
    return result["count"], tape.gradient(loss, [scale, x])


def test_gradients_and_integers_pass_through():
    scale, x = tf.constant(2.0), tf.constant([1.0, -0.5])
    count, (by_scale, by_x) = gradient_of(recomputed(cubed), scale, x)
    assert int(count) == 5
    # loss = scale^2 sum x^6
    np.testing.assert_allclose(by_scale, 2 * 2.0 * (1.0 + 0.5**6), rtol=1e-6)
    np.testing.assert_allclose(by_x, 4.0 * 6 * np.array([1.0, -(0.5**5)]), rtol=1e-6)


def test_the_function_runs_again_for_its_gradient():
    calls = []

    def counted(*arguments):
        calls.append(len(calls))
        return cubed(*arguments)

    scale, x = tf.constant(2.0), tf.constant([1.0, -0.5])
    gradient_of(recomputed(counted), scale, x)
    assert len(calls) == 2
    calls.clear()
    gradient_of(counted, scale, x)
    assert len(calls) == 1


def test_the_graph_really_computes_twice():
    """An operation with a side effect tells how often it ran."""
    runs = tf.Variable(0, trainable=False)

    def noted(scale, values, count):
        with tf.control_dependencies([runs.assign_add(1)]):
            return cubed(scale, {"x": tf.identity(values["x"])}, count)

    @tf.function
    def compute(scale, x):
        return gradient_of(recomputed(noted), scale, x)[1]

    compute(tf.constant(2.0), tf.constant([1.0, -0.5]))
    assert int(runs) == 2
