"""What cannot work gets one error, before any graph is traced."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training import episode_checks


def classifier(outputs):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs)])


@pytest.fixture
def no_tracing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("A meta-step was traced.")

    monkeypatch.setattr(keras_meta.MetaTrainer, "train_step", refuse)
    monkeypatch.setattr(
        "keras_meta.training.task_engine.TaskEngine.task_results", refuse
    )


def few_shot(ways=3, **kwargs):
    images = np.random.default_rng(0).normal(size=(4, 5, 3))
    return keras_meta.tasks.FewShotClassification(
        images, ways=ways, shots=1, queries=2, **kwargs
    )


def both_ways(trainer, tasks, error, text):
    with pytest.raises(error, match=text):
        trainer.fit(tasks, verbose=0)
    with pytest.raises(error, match=text):
        trainer.evaluate(tasks, episodes=2, verbose=0)


def test_outputs_must_fit_the_ways(make_trainer, no_tracing):
    trainer = make_trainer(classifier(4), loss="sparse_categorical_crossentropy")
    both_ways(
        trainer,
        few_shot(ways=3),
        ValueError,
        r"one output for each of the 3 ways. Received: model .* shape \(3, 4\). Give "
        "its last layer 3 units, or make the tasks with ways=4",
    )


def test_fewer_classes_than_ways_are_named():
    with pytest.raises(ValueError, match="Received: ways=5, 4 classes. Lower `ways`"):
        few_shot(ways=5)


def test_inputs_must_fit_the_model(make_trainer, no_tracing, sinusoids):
    both_ways(
        make_trainer(classifier(1)),
        sinusoids,
        ValueError,
        r"cannot be called on the tasks' inputs. Received: inputs of shape \[\(5, 1\)\]"
        r"; the model takes \(None, 3\). Keras says",
    )


@pytest.mark.parametrize(
    "change, text",
    [
        ({1: np.full((5, 1), np.nan)}, "The tasks' support_y must be finite.*5 values"),
        (
            {2: np.full((3, 2), np.inf)},
            r"query_x must be finite.*first at index \(0, 0",
        ),
        (
            {1: np.ones((5, 2)), 3: np.ones((3, 2))},
            r"Received: targets \(5, 2\), predictions \(5, 1\). Change the model's",
        ),
    ],
)
def test_episodes_of_a_dataset_are_looked_at(
    make_trainer, linear_model, dataset_of, episode, no_tracing, change, text
):
    parts = [change.get(i, part).astype("float32") for i, part in enumerate(episode)]
    both_ways(make_trainer(linear_model()), dataset_of(parts), ValueError, text)


def test_class_numbers_must_be_in_range(make_trainer, dataset_of, no_tracing):
    trainer = make_trainer(classifier(2), loss="sparse_categorical_crossentropy")
    x, y = np.ones((2, 3), "float32"), np.array([1, 2])
    both_ways(
        trainer,
        dataset_of((x, y, x, y)),
        ValueError,
        r"Class numbers must be in \[0, 2\).*Received: numbers from 1 to 2",
    )


def test_tasks_must_be_tasks(make_trainer, no_tracing):
    trainer = make_trainer()
    for tasks in (None, np.ones((3, 1)), "sinusoid"):
        both_ways(
            trainer,
            tasks,
            TypeError,
            "`tasks` must be a `keras_meta.tasks.TaskDistribution` or a "
            f"`tf.data.Dataset` of episodes. Received: {type(tasks).__name__}",
        )
    empty = tf.data.Dataset.from_tensors((np.ones((2, 1), "float32"),) * 4).take(0)
    with pytest.raises(ValueError, match="must hold at least one. Received: an empty"):
        trainer.evaluate(empty, episodes=2, verbose=0)


def test_compile_comes_first(sinusoids, linear_model):
    trainer = keras_meta.MetaTrainer(linear_model(), keras_meta.SGD(0.1))
    for call in (
        lambda: trainer.fit(sinusoids),
        lambda: trainer.evaluate(sinusoids),
        lambda: trainer.adapt(np.ones((2, 2)), np.ones((2, 1))),
    ):
        with pytest.raises(ValueError, match=r"call `compile\(\)` before"):
            call()
    with pytest.raises(ValueError, match="`loss` of `compile.*loss=None"):
        trainer.compile("sgd")
    with pytest.raises(ValueError, match="`jit_compile` must be one of.*'fast'"):
        trainer.compile("sgd", "mse", jit_compile="fast")


def test_integer_targets_must_not_be_broadcast():
    with pytest.raises(ValueError, match="must have the shape of the model's pred"):
        episode_checks.check_prediction(tf.ones((4, 2), "int32"), tf.ones((4, 1)))
    episode_checks.check_prediction(tf.ones((4, 1), "int32"), tf.ones((4, 1)))
    episode_checks.check_prediction(tf.ones((4, 1), "int32"), tf.ones((4, 3)))
    episode_checks.check_prediction(tf.ones((4,), "int32"), tf.ones((4, 3)))


def test_arrays_are_referred_to_from_groups_first(make_trainer, no_tracing):
    """`fit(x, y)` as in Keras: `y` is taken for the meta-batch size."""
    x = np.zeros((900, 1))
    with pytest.raises(TypeError, match="ndarray. Make tasks .*from_groups") as caught:
        make_trainer().fit(x, x)
    assert len(str(caught.value)) < 300


def test_float_class_numbers_are_named(make_trainer, dataset_of, no_tracing):
    trainer = make_trainer(classifier(2), loss="mse")
    x, y = np.ones((2, 3), "float32"), np.array([[0.0], [1.0]])
    text = "Float targets are taken for regression: .*pass integers"
    both_ways(trainer, dataset_of((x, y, x, y)), ValueError, text)


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        "CategoricalCrossentropy",
        keras.losses.categorical_crossentropy,
        keras.losses.CategoricalCrossentropy(from_logits=True, name="mine"),
    ],
    ids=["name", "class_name", "function", "object"],
)
def test_losses_of_one_hot_targets_refuse_class_numbers(
    make_trainer, dataset_of, no_tracing, loss
):
    trainer = make_trainer(classifier(2), loss=loss)
    x, y = np.ones((2, 3), "float32"), np.array([0, 1])
    text = r"takes one-hot targets.*int64 of shape \(2,\).*SparseCategoricalCrossent"
    both_ways(trainer, dataset_of((x, y, x, y)), ValueError, text)
    with pytest.raises(ValueError, match=text):
        trainer.adapt(x, y)
    trainer.adapt(x, np.eye(2)[y])


def test_a_loss_of_class_numbers_refuses_floats(make_trainer, dataset_of, no_tracing):
    trainer = make_trainer(classifier(1), loss="sparse_categorical_crossentropy")
    x, y = np.ones((2, 3), "float32"), np.array([[0.5], [-2.0]], "float32")
    text = "takes class numbers. Received: targets of dtype float32. Pass integers"
    both_ways(trainer, dataset_of((x, y, x, y)), ValueError, text)


def test_several_outputs_need_as_many_targets(make_trainer, sinusoids, no_tracing):
    x = keras.Input((1,))
    outputs = {"u": keras.layers.Dense(1)(x), "v": keras.layers.Dense(2)(x)}
    both_ways(
        make_trainer(keras.Model(x, outputs), keras_meta.SGD(0.1)),
        sinusoids,
        ValueError,
        r"several outputs needs .*Received: outputs of shape \[\(5, 1\), \(5, 2\)\], "
        r"targets of shape \[\(5, 1\)\]. Pass a dict or tuple .*tf.data.Dataset",
    )


def test_a_batched_dataset_is_named_without_its_values(
    make_trainer, linear_model, dataset_of, episode, no_tracing
):
    """As many queries as shots: only the model knows that an axis is too many."""
    dataset = dataset_of(*[(*episode[:2], *episode[:2])] * 4)
    with pytest.raises(ValueError, match="axis too many: .*do not batch") as caught:
        make_trainer(linear_model()).fit(dataset.batch(4, drop_remainder=True))
    assert str(episode[0][0, 0])[:6] not in str(caught.value)
