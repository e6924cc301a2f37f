"""What workers compare: the same in processes that differ in nothing that matters."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training.distributed.worker_agreement import facts_of, facts_of_data
from keras_meta.training.task_source import TaskSource


def functional(units=4):
    x = keras.Input((1,))
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Dense(units)(x)))


class WithoutConfig(keras.Model):
    """Is made with a function, which no config can hold."""

    def __init__(self, function):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.function = function

    def call(self, inputs):
        return self.function(self.dense(inputs))


def without_config():
    model = WithoutConfig(lambda x: 2.0 * x)
    model(np.zeros((1, 1)))
    return model


def trainer_of(model, loss="mse", **settings):
    trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(), seed=0, **settings)
    trainer.compile("sgd", loss)
    return trainer


def test_names_and_seeds_that_were_counted_or_drawn_do_not_matter():
    first = facts_of(trainer_of(functional()), {})
    keras.layers.Dense(1)  # Counts up.
    assert facts_of(trainer_of(functional()), {}) == first
    other = facts_of(trainer_of(functional(units=5)), {})
    assert {name for name in first if first[name] != other[name]} == {
        "model",
        "shapes of weights",
    }


@pytest.mark.parametrize(
    "made",
    [
        lambda: trainer_of(without_config()),
        lambda: trainer_of(functional(), task_reduction=lambda x: tf.reduce_max(x)),
        lambda: trainer_of(functional(), loss=WithoutConfig(lambda x: x).function),
    ],
    ids=["model", "reduction", "loss"],
)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_what_has_no_config_does_not_keep_settings_from_being_compared(made):
    facts = facts_of(made(), {})
    assert facts == facts_of(made(), {})
    assert facts["inner_steps"] == "1"


def facts_of_arrays(seed, noise=0.0):
    x = np.random.default_rng(seed).normal(size=(4, 10, 2))
    x = x - x.mean() + noise
    tasks = keras_meta.tasks.FewShotClassification(
        x.astype("float32"), ways=2, shots=1, queries=1
    )
    return facts_of_data("tasks", TaskSource(tasks, 0))


def test_data_are_compared_and_roundings_are_not():
    assert facts_of_arrays(0) == facts_of_arrays(0, noise=1e-7)
    assert facts_of_arrays(0) != facts_of_arrays(1)
