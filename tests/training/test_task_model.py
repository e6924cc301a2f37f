"""Batch normalisation and dropout, against the formulas in NumPy."""

import keras
import numpy as np
import pytest

import keras_meta

MOMENTUM, EPSILON = 0.5, 0.001


def normalized_mean(w):
    """Returns a model: batch norm without scale, then times w."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, center=False, scale=False
            ),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    values = [[0.3, -0.2], [2.0, 0.5], np.reshape(w, (2, 1))]
    model.set_weights([np.array(value) for value in values])
    return model


def expected_losses(episode, w, rate, support_stats, query_stats):
    """Query loss before and after one step, with the given (mean, variance)."""
    support_x, support_y, query_x, query_y = [p.astype("float64") for p in episode]
    support_x = (support_x - support_stats[0]) / np.sqrt(support_stats[1] + EPSILON)
    query_x = (query_x - query_stats[0]) / np.sqrt(query_stats[1] + EPSILON)
    error = support_x @ w - support_y[:, 0]
    after = w - rate * 2 / len(error) * support_x.T @ error
    return [np.mean((query_x @ v - query_y[:, 0]) ** 2) for v in (w, after)]


@pytest.mark.parametrize("statistics", ["task", "running"])
def test_batch_norm_uses_the_statistics_asked_for(
    make_trainer, dataset_of, episode, statistics
):
    w = np.array([0.5, -0.3])
    model = normalized_mean(w)
    trainer = make_trainer(
        model,
        keras_meta.SGD(0.1),
        keras.optimizers.SGD(0.0),
        batch_statistics=statistics,
    )
    stats = [([0.3, -0.2], np.array([2.0, 0.5]))] * 2
    if statistics == "task":
        stats = [(part.mean(axis=0), part.var(axis=0)) for part in episode[::2]]
    expected = expected_losses(episode, w, 0.1, *stats)
    dataset = dataset_of(episode, episode)

    result = trainer.evaluate(dataset, episodes=2, verbose=0)
    np.testing.assert_allclose(result["loss"]["mean"], expected, rtol=1e-5)
    moving = [np.array(v) for v in model.non_trainable_variables]
    np.testing.assert_allclose(moving, [[0.3, -0.2], [2.0, 0.5]], rtol=1e-6)

    history = trainer.fit(
        dataset,
        meta_batch_size=1,
        steps_per_epoch=1,
        validation_tasks=dataset,
        verbose=0,
    ).history
    np.testing.assert_allclose(history["loss"], expected[1:], rtol=1e-5)
    moving = [np.array(v) for v in model.non_trainable_variables]
    wanted = [[0.3, -0.2], [2.0, 0.5]]
    if statistics == "running":
        # One step of the moving average, from the support set and nothing else.
        support = (episode[0].mean(axis=0), episode[0].var(axis=0))
        wanted = [
            MOMENTUM * np.array(old) + (1 - MOMENTUM) * new
            for old, new in zip(wanted, support, strict=True)
        ]
        stats = [wanted, wanted]
        expected = expected_losses(episode, w, 0.1, *stats)
    np.testing.assert_allclose(moving, wanted, rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"], expected[1:], rtol=1e-5)


@pytest.mark.parametrize("statistics", ["task", "running"])
def test_an_adapted_model_normalizes_by_itself(make_trainer, episode, statistics):
    """With "task" it holds the support set's own statistics, else the running ones."""
    trainer = make_trainer(
        normalized_mean([0.5, -0.3]), keras_meta.SGD(0.1), batch_statistics=statistics
    )
    adapted = trainer.adapt(*episode[:2])
    wanted = [[0.3, -0.2], [2.0, 0.5]]
    if statistics == "task":
        wanted = [episode[0].mean(axis=0), episode[0].var(axis=0)]
    for variable, value in zip(adapted.non_trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6)


def test_dropout_draws_by_task_and_is_off_in_evaluation(
    make_trainer, linear_model, dataset_of, episode
):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dropout(0.5), linear_model().layers[0]]
    )

    def losses(batch, **kwargs):
        trainer = make_trainer(
            model, keras_meta.SGD(0.0), keras.optimizers.SGD(0.0), **kwargs
        )
        history = trainer.fit(
            dataset_of(*[episode] * 4),
            meta_batch_size=batch,
            epochs=2,
            steps_per_epoch=1,
            verbose=0,
        )
        result = trainer.evaluate(dataset_of(episode, episode), episodes=2, verbose=0)
        return history.history["loss"], result["loss"]

    first, evaluated = losses(1)
    again, _ = losses(1)
    assert first == again
    assert first[0] != first[1]  # Two tasks draw differently.
    other, _ = losses(1, seed=8)
    assert first[0] != other[0]
    # The query set is judged without dropout: by hand, the error of Xw.
    error = episode[2] @ np.array([0.5, -0.3]) - episode[3][:, 0]
    np.testing.assert_allclose(evaluated["mean"], [np.mean(error**2)] * 2, rtol=1e-5)


class Largest(keras.metrics.Metric):
    """Returns its variable itself, as Keras' guide to own metrics does."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.largest = self.add_weight(name="largest", shape=(), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        found = keras.ops.max(keras.ops.abs(y_pred - y_true))
        self.largest.assign(keras.ops.maximum(self.largest, found))

    def result(self):
        return self.largest


def test_a_metric_may_return_its_variable(dataset_of, episode):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    trainer = keras_meta.MetaTrainer(model, keras_meta.SGD(0.1))
    trainer.compile("sgd", "mse", [Largest()])
    result = trainer.evaluate(dataset_of(episode, episode), episodes=2, verbose=0)
    query_x, query_y = episode[2:]
    expected = np.abs(query_x @ np.array(model.layers[0].kernel) - query_y).max()
    np.testing.assert_allclose(result["largest"]["mean"][0], expected, rtol=1e-5)
