"""What a support set may be, and what a matching network says of others."""

import keras
import numpy as np
import pytest

import keras_meta


@pytest.fixture
def learner():
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    learner = keras_meta.learners.MatchingNetwork(encoder, seed=0)
    learner.compile("adam")
    return learner


def test_lists_of_numbers_are_arrays(learner):
    x, y = [[1.0, 0.0], [0.0, 1.0]], [0, 1]
    logits = learner.adapt(x, y)(np.eye(2, dtype="float32"))
    wanted = learner.adapt(np.array(x), np.array(y))(np.eye(2, dtype="float32"))
    np.testing.assert_array_equal(logits, wanted)


def test_names_as_labels_are_refused(learner):
    with pytest.raises(ValueError, match="Labels must be numbers.*np.unique"):
        learner.adapt([[1.0, 0.0], [0.0, 1.0]], ["cat", "dog"])


def test_a_loss_of_one_hot_targets_is_refused(learner):
    learner.compile("adam", loss="categorical_crossentropy")
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    tasks = keras_meta.tasks.FewShotClassification(x, ways=2, shots=1, queries=2)
    with pytest.raises(ValueError, match="one-hot targets.*SparseCategorical"):
        learner.fit(tasks, 2, steps_per_epoch=1, verbose=0)
