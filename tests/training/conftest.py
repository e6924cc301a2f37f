import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta


@pytest.fixture(scope="session")
def make_trainer():
    """Returns a function that makes a compiled trainer of a tiny model."""

    def make(model=None, inner=None, outer=None, loss="mse", metrics=None, **kwargs):
        keys = ("jit_compile", "steps_per_execution", "run_eagerly")
        compiling = {"jit_compile": False} | {
            key: kwargs.pop(key) for key in keys if key in kwargs
        }
        if model is None:
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [
                    keras.Input((1,)),
                    keras.layers.Dense(4, "tanh"),
                    keras.layers.Dense(1),
                ]
            )
        kwargs = {"seed": 7, "task_axis": "sequential"} | kwargs
        trainer = keras_meta.MetaTrainer(
            model, inner or keras_meta.MetaSGD(alpha_init=0.05, seed=0), **kwargs
        )
        trainer.compile(
            outer or keras.optimizers.Adam(0.01), loss, metrics, **compiling
        )
        return trainer

    return make


@pytest.fixture(scope="session")
def sinusoids():
    return keras_meta.tasks.Sinusoid(shots=5, queries=4)


@pytest.fixture(scope="session")
def episode():
    """One linear-regression episode: support (5, 2), (5, 1), query (3, 2), (3, 1)."""
    generator = np.random.default_rng(0)
    shapes = ((5, 2), (5, 1), (3, 2), (3, 1))
    return tuple(generator.normal(size=shape).astype("float32") for shape in shapes)


@pytest.fixture(scope="session")
def dataset_of():
    """Returns a function from episodes (tuples of four arrays) to a dataset."""

    def dataset(*episodes):
        parts = zip(*episodes, strict=True)
        return tf.data.Dataset.from_tensor_slices(tuple(np.stack(p) for p in parts))

    return dataset


@pytest.fixture(scope="session")
def linear_model():
    """Returns a function that makes Xw, with w (2, 1) given."""

    def make(w=(0.5, -0.3), **kwargs):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(1, use_bias=False, **kwargs)]
        )
        model.set_weights([np.reshape(w, (2, 1))])
        return model

    return make
