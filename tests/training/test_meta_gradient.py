"""Expected numbers: hand-derived formulas and finite differences, in NumPy float64.

The model is Xw with the squared error, so the gradient of a set is
g(w) = 2/n X'(Xw - y) and its Hessian H = 2/n X'X.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training.inner_batches import inner_batches

W = np.array([0.5, -0.3])


def gradient(w, x, y):
    return 2 / len(x) * x.T @ (x @ w - y[:, 0])


def hessian(x):
    return 2 / len(x) * x.T @ x


def query_loss_after(w, rate, slope, num_steps, episode):
    """The query loss after steps w <- w - (rate + slope g) g."""
    support_x, support_y, query_x, query_y = [
        part.astype("float64") for part in episode
    ]
    for _ in range(num_steps):
        g = gradient(w, support_x, support_y)
        w = w - (rate + slope * g) * g
    return np.mean((query_x @ w - query_y[:, 0]) ** 2)


def finite_difference(function, at, step=1e-5):
    return np.array(
        [
            (function(at + step * unit) - function(at - step * unit)) / (2 * step)
            for unit in np.eye(len(at))
        ]
    )


def meta_gradients(trainer, dataset):
    """One meta-step with an outer SGD(1.0) moves by minus the meta-gradient."""
    before = [np.array(v) for v in trainer.trainable_variables]
    trainer.fit(dataset, meta_batch_size=1, verbose=0)
    return [
        (old - np.array(v)).ravel()
        for old, v in zip(before, trainer.trainable_variables, strict=True)
    ]


@pytest.fixture
def gradients_of(make_trainer, linear_model, dataset_of, episode):
    def compute(inner, **kwargs):
        trainer = make_trainer(
            linear_model(W), inner, keras.optimizers.SGD(1.0), **kwargs
        )
        return meta_gradients(trainer, dataset_of(episode))

    return compute


def test_maml_has_the_second_order_term(gradients_of, episode):
    support_x, support_y, query_x, query_y = episode
    rate = 0.2
    adapted = W - rate * gradient(W, support_x, support_y)
    at_adapted = gradient(adapted, query_x, query_y)
    (received,) = gradients_of(keras_meta.SGD(rate))
    expected = (np.eye(2) - rate * hessian(support_x)) @ at_adapted
    np.testing.assert_allclose(received, expected, rtol=1e-5)
    (received,) = gradients_of(keras_meta.SGD(rate), meta_gradient="first_order")
    np.testing.assert_allclose(received, at_adapted, rtol=1e-5)
    assert np.abs(at_adapted - expected).max() > 0.1


def test_meta_sgd_learns_rates_by_the_product_of_gradients(gradients_of, episode):
    support_x, support_y, query_x, query_y = episode
    rate = 0.2
    g = gradient(W, support_x, support_y)
    at_adapted = gradient(W - rate * g, query_x, query_y)
    for meta_gradient in ("exact", "first_order"):
        inner = keras_meta.MetaSGD(alpha_init=rate, seed=0)
        _, received = gradients_of(inner, meta_gradient=meta_gradient)
        np.testing.assert_allclose(received, -g * at_adapted, rtol=1e-5)


@pytest.mark.parametrize("num_steps", [3, 12])
def test_exact_gradients_are_those_of_finite_differences(
    gradients_of, episode, num_steps
):
    inner = keras_meta.MetaSGD(alpha_init=0.1, rate_map="linear", seed=0)
    w, rate, slope = gradients_of(inner, inner_steps=num_steps)
    start = np.full(2, 0.1)
    expected = [
        finite_difference(
            lambda w: query_loss_after(w, start, 0.0, num_steps, episode), W
        ),
        finite_difference(
            lambda r: query_loss_after(W, r, 0.0, num_steps, episode), start
        ),
        finite_difference(
            lambda s: query_loss_after(W, start, s, num_steps, episode), np.zeros(2)
        ),
    ]
    for received, wanted in zip((w, rate, slope), expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-4)


@pytest.mark.parametrize("num_steps", [3, 12])
@pytest.mark.parametrize("meta_gradient", ["exact", "first_order"])
def test_recomputation_changes_no_gradient(
    gradients_of, episode, num_steps, meta_gradient
):
    # Where tasks are vectorized, 12 steps are written out as 3 are.
    for task_axis in ("sequential", "vectorize") if num_steps == 3 else ("sequential",):
        received = [
            gradients_of(
                keras_meta.MetaSGD(alpha_init=0.1, rate_map="linear", seed=0),
                inner_steps=num_steps,
                meta_gradient=meta_gradient,
                task_axis=task_axis,
                remat=remat,
            )
            for remat in (False, True)
        ]
        for kept, recomputed in zip(*received, strict=True):
            np.testing.assert_allclose(recomputed, kept, rtol=1e-5)


def test_reptile_moves_to_the_weights_that_plain_training_reaches(
    gradients_of, episode
):
    """phi - W of Nichol et al. 2018, on support and query together."""
    x = np.concatenate(episode[::2]).astype("float64")
    y = np.concatenate(episode[1::2]).astype("float64")
    w = W
    for _ in range(4):
        w = w - 0.1 * gradient(w, x, y)
    (received,) = gradients_of(
        keras_meta.SGD(0.1), meta_gradient="reptile", inner_steps=4
    )
    np.testing.assert_allclose(received, W - w, rtol=1e-5)


def test_reptile_follows_its_inner_batches(gradients_of, episode):
    """Batches of 5 out of 8 examples, three steps: two passes over the set."""
    x = np.concatenate(episode[::2]).astype("float64")
    y = np.concatenate(episode[1::2]).astype("float64")
    seed = tf.constant([2 * 7, 0], "int64")  # of the trainer's first task
    batches = np.array(inner_batches(seed, 8, 5, 3))
    assert sorted(batches.ravel()[:8]) == list(range(8))
    w = W
    for rows in batches:
        w = w - 0.1 * gradient(w, x[rows], y[rows])
    (received,) = gradients_of(
        keras_meta.SGD(0.1),
        meta_gradient="reptile",
        inner_steps=3,
        inner_batch_size=5,
    )
    np.testing.assert_allclose(received, W - w, rtol=1e-5)


@pytest.mark.parametrize("num_steps", [3, 12])
@pytest.mark.parametrize("meta_gradient", ["exact", "first_order"])
def test_the_multi_step_loss_adds_up_weighted_query_losses(
    gradients_of, episode, num_steps, meta_gradient
):
    weights = np.linspace(1.0, 2.0, num_steps)

    def loss(w):
        return sum(
            weight * query_loss_after(w, 0.1, 0.0, step + 1, episode)
            for step, weight in enumerate(weights)
        )

    expected = finite_difference(loss, W)
    if meta_gradient == "first_order":
        support_x, support_y, query_x, query_y = [p.astype("float64") for p in episode]
        w, expected = W, np.zeros(2)
        for weight in weights:
            w = w - 0.1 * gradient(w, support_x, support_y)
            expected += weight * gradient(w, query_x, query_y)
    (received,) = gradients_of(
        keras_meta.SGD(0.1),
        inner_steps=num_steps,
        meta_gradient=meta_gradient,
        multi_step_loss=weights.tolist(),
    )
    np.testing.assert_allclose(received, expected, rtol=1e-4)


def test_a_fixed_initialisation_stays(make_trainer, linear_model, dataset_of, episode):
    model = linear_model(W)
    trainer = make_trainer(
        model, outer=keras.optimizers.SGD(1.0), learn_initialization=False
    )
    (rates,) = meta_gradients(trainer, dataset_of(episode))
    np.testing.assert_array_equal(np.ravel(model.get_weights()[0]), W.astype("float32"))
    assert np.abs(rates).min() > 1e-3


def test_regularisers_and_added_losses_count(make_trainer, dataset_of, episode):
    """The loss is mse + 0.1 |w|^2 + 0.2 mean(prediction)^2 in both loops."""

    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(0.2 * keras.ops.mean(x) ** 2)
            return x

    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(
                1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.1)
            ),
            Penalty(),
        ]
    )
    model.set_weights([W.reshape(2, 1)])

    def loss(w, x, y):
        p = x @ w
        return np.mean((p - y[:, 0]) ** 2) + 0.1 * w @ w + 0.2 * np.mean(p) ** 2

    def after(w):
        support_x, support_y, query_x, query_y = [p.astype("float64") for p in episode]
        mean = support_x.mean(axis=0)
        g = gradient(w, support_x, support_y) + 0.2 * w + 0.4 * mean * (mean @ w)
        return loss(w - 0.2 * g, query_x, query_y)

    trainer = make_trainer(model, keras_meta.SGD(0.2), keras.optimizers.SGD(1.0))
    (received,) = meta_gradients(trainer, dataset_of(episode))
    np.testing.assert_allclose(received, finite_difference(after, W), rtol=1e-4)


def test_loss_scaling_of_the_outer_optimizer_cancels(
    make_trainer, linear_model, dataset_of, episode
):
    moved = []
    for factor in (None, 8.0):
        outer = keras.optimizers.SGD(1.0, loss_scale_factor=factor)
        trainer = make_trainer(linear_model(W), keras_meta.SGD(0.2), outer)
        moved += meta_gradients(trainer, dataset_of(episode))
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)
