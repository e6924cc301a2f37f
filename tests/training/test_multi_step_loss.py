import numpy as np
import pytest
import tensorflow as tf

from keras_meta.training.multi_step_loss import step_weights


def weights_at(meta_step, inner_steps=4, over=100):
    return np.array(step_weights(over, inner_steps, tf.constant(meta_step, "int64")))


def reference(meta_step, inner_steps, over):
    """The schedule as MAML++'s code writes it, one epoch a meta-step.

    After the last epoch of annealing the code takes the last query loss alone.
    """
    if meta_step >= over:
        return np.eye(inner_steps)[-1]
    weights = np.ones(inner_steps) / inner_steps
    decay = 1.0 / inner_steps / over
    least = 0.03 / inner_steps
    for i in range(inner_steps - 1):
        weights[i] = max(weights[i] - meta_step * decay, least)
    weights[-1] = min(
        weights[-1] + meta_step * (inner_steps - 1) * decay,
        1.0 - (inner_steps - 1) * least,
    )
    return weights


@pytest.mark.parametrize("meta_step", [0, 1, 50, 97, 98, 99, 100, 10_000])
@pytest.mark.parametrize("inner_steps", [1, 2, 5])
def test_weights_anneal_as_in_the_papers_code(meta_step, inner_steps):
    received = weights_at(meta_step, inner_steps)
    np.testing.assert_allclose(
        received, reference(meta_step, inner_steps, 100), rtol=1e-5
    )
    np.testing.assert_allclose(received.sum(), 1.0, rtol=1e-6)


def test_given_weights_stay():
    received = step_weights([0.0, 2.0], 2, tf.constant(9, "int64"))
    np.testing.assert_array_equal(received, [0.0, 2.0])
    assert step_weights(None, 2, tf.constant(9, "int64")) is None


def test_annealing_follows_the_meta_steps_of_a_fit(make_trainer, sinusoids):
    """The logged loss is the weighted sum: with fixed weights of 2, twice as large."""
    losses = []
    for weights in ([0.0, 1.0], [0.0, 2.0], 1):
        trainer = make_trainer(inner_steps=2, multi_step_loss=weights)
        history = trainer.fit(sinusoids, 4, steps_per_epoch=1, epochs=2, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[1][0], 2 * losses[0][0], rtol=1e-5)
    # Weights (1/2, 1/2) at the first meta-step, (0, 1) at the second.
    assert losses[2][0] != pytest.approx(losses[0][0], rel=1e-3)
