import keras
import numpy as np
import pytest

import keras_meta


@pytest.fixture(scope="session")
def make_encoder():
    """Returns a function that makes an encoder of 6x6 images, with or without BN."""

    def make(normalized=True):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 3, strides=2)]
        if normalized:
            layers.append(keras.layers.BatchNormalization(momentum=0.5))
        return keras.Sequential([*layers, keras.layers.ReLU()])

    return make


@pytest.fixture(scope="session")
def images():
    """12 classes of 8 images: a pattern of the class, and noise."""
    generator = np.random.default_rng(0)
    patterns = generator.normal(size=(12, 1, 6, 6))
    noise = generator.normal(size=(12, 8, 6, 6))
    return (patterns + noise).astype("float32")


@pytest.fixture(scope="session")
def few_shot(images):
    """Returns a function that makes tasks of the first 8 or the last 4 classes."""

    def make(ways=3, shots=2, queries=4, new=False):
        chosen = images[8:] if new else images[:8]
        return keras_meta.tasks.FewShotClassification(
            chosen, ways=ways, shots=shots, queries=queries
        )

    return make


@pytest.fixture(scope="session")
def make_learner(make_encoder):
    """Returns a function that makes a compiled matching network."""

    def make(encoder=None, outer=None, metrics=("accuracy",), **kwargs):
        learner = keras_meta.learners.MatchingNetwork(
            encoder or make_encoder(), **{"seed": 3} | kwargs
        )
        learner.compile(
            outer or keras.optimizers.Adam(0.01),
            metrics=list(metrics),
            jit_compile=False,
        )
        return learner

    return make
