import keras
import numpy as np
import pytest

import keras_meta
from keras_meta.training.meta_evaluation import summary
from keras_meta.training.task_source import TaskSource


def test_summary_is_that_of_the_textbook():
    """By hand: mean 2, sample deviation sqrt(2), 1.96 * sqrt(2) / sqrt(2) = 1.96."""
    result = summary([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(result["mean"], [2.0, 5.0])
    np.testing.assert_allclose(result["ci95"], [1.96, 0.0])


@pytest.fixture(scope="module")
def trainer(make_trainer, sinusoids):
    trainer = make_trainer(metrics=["mae"])
    trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=2, verbose=0)
    return trainer


def plain_keras(trainer, episode, num_steps):
    """[(mse, mae), ...] after each step of `fit` with the learned optimizer."""
    model = keras.models.clone_model(trainer.model)
    model.set_weights(trainer.model.get_weights())
    model.compile(trainer.learned_optimizer(), loss="mse", jit_compile=False)
    values = []
    for step in range(num_steps + 1):
        if step:
            model.train_on_batch(episode.support_x, episode.support_y)
        error = np.array(model(episode.query_x)) - episode.query_y
        values.append([np.mean(error**2), np.mean(np.abs(error))])
    return np.array(values)


def test_it_reports_what_plain_keras_gives_task_by_task(trainer, sinusoids):
    """Five episodes in meta-batches of two, three steps (training takes one)."""
    result = trainer.evaluate(
        sinusoids, episodes=5, inner_steps=3, meta_batch_size=2, seed=4, verbose=0
    )
    source = TaskSource(sinusoids, 2**33 + 4)
    values = np.array(
        [
            plain_keras(trainer, sinusoids.sample(seed), 3)
            for seed in source.seeds(range(5))
        ]
    )  # (tasks, steps + 1, metrics)
    assert list(result) == ["loss", "mae"]
    for index, name in enumerate(result):
        columns = values[:, :, index]
        np.testing.assert_allclose(
            result[name]["mean"], columns.mean(axis=0), rtol=1e-4
        )
        np.testing.assert_allclose(
            result[name]["ci95"],
            1.96 * columns.std(axis=0, ddof=1) / np.sqrt(5),
            rtol=1e-4,
        )


def test_adapt_agrees_and_datasets_are_read_to_the_last_episode(
    trainer, sinusoids, dataset_of
):
    source = TaskSource(sinusoids, 0)
    episodes = [sinusoids.sample(seed) for seed in source.seeds([3, 4, 5])]
    result = trainer.evaluate(
        dataset_of(*episodes), episodes=3, meta_batch_size=2, verbose=0
    )
    scores = []
    for episode in episodes:
        adapted = trainer.adapt(*[np.array(part) for part in episode[:2]])
        scores.append(adapted.evaluate(*episode[2:], verbose=0, return_dict=True))
    for name in ("loss", "mae"):
        wanted = np.mean([score[name] for score in scores])
        np.testing.assert_allclose(result[name]["mean"][1], wanted, rtol=1e-5)


def test_seeds_name_the_tasks(trainer, sinusoids):
    first, again, other = (
        trainer.evaluate(sinusoids, episodes=3, seed=seed, verbose=0)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["loss"]["mean"] != other["loss"]["mean"]
    facts = trainer.last_evaluation
    assert (facts["seed"], facts["episodes"], facts["inner_steps"]) == (1, 3, 1)
    assert facts["results"] == other


def test_auc_and_accuracy_are_those_of_each_task(make_trainer, dataset_of):
    """By hand: Xw sorts the first task's two classes wholly, the second's half."""
    x = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]], "float32")
    sorted_y = np.array([[0.0], [0.0], [1.0], [1.0]], "float32")
    mixed_y = np.array([[0.0], [1.0], [0.0], [1.0]], "float32")
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, "sigmoid", use_bias=False)]
    )
    model.set_weights([np.array([[0.1], [0.0]])])
    trainer = make_trainer(
        model,
        keras_meta.SGD(0.0),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
    )
    dataset = dataset_of((x, sorted_y, x, sorted_y), (x, mixed_y, x, mixed_y))
    result = trainer.evaluate(dataset, episodes=2, verbose=0)
    # AUC 1 and 3/4; sigmoid(0.1 ...) > 0.5: all called positive, half of them right.
    np.testing.assert_allclose(result["auc"]["mean"], [0.875] * 2, atol=0.01)
    np.testing.assert_allclose(result["accuracy"]["mean"], [0.5, 0.5])


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"episodes": 1}, ValueError, "`episodes` must be at least 2.*episodes=1"),
        ({"episodes": 2.5}, ValueError, "`episodes` must be an integer >= 1.*2.5"),
        ({"inner_steps": 0}, ValueError, "`inner_steps` must be an integer >= 1.*=0"),
        ({"meta_batch_size": 0}, ValueError, "`meta_batch_size` must be an int"),
        ({"seed": -1}, ValueError, "`seed` must be an int >= 0"),
        (
            {"batch": 3},
            TypeError,
            r"does not take the arguments of.*Received: \['batch'\]",
        ),
    ],
)
def test_wrong_arguments_are_refused(trainer, sinusoids, arguments, error, text):
    with pytest.raises(error, match=text):
        trainer.evaluate(sinusoids, verbose=0, **arguments)


def test_too_few_episodes_are_named(make_trainer, linear_model, dataset_of, episode):
    trainer = make_trainer(linear_model())
    with pytest.raises(
        ValueError, match=r"at least 5 episodes. Received: 3. .*episodes=3"
    ):
        trainer.evaluate(dataset_of(*[episode] * 3), episodes=5, verbose=0)
