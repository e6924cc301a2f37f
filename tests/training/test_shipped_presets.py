"""The presets that ship, on images that they were not made for."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_meta


def digits():
    """Returns scikit-learn's digits as ink on 28x28, as Omniglot's images are."""
    table = load_digits()
    images = np.kron(table.images, np.ones((1, 3, 3))) > 8.0
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., np.newaxis]
    return images.astype("float32"), table.target


@pytest.mark.parametrize(
    "name", [n for n in keras_meta.list_presets() if n.startswith("omniglot")]
)
def test_omniglots_learners_learn_digits_from_five_examples(name):
    trainer = keras_meta.MetaTrainer.from_preset(name)
    tasks = keras_meta.tasks.FewShotClassification(*digits(), ways=5, shots=5)
    accuracy = trainer.evaluate(tasks, episodes=20, verbose=0)["accuracy"]
    assert accuracy["mean"][0] < 0.3
    # Chance is 0.2; measured with Meta-SGD: 0.78.
    assert accuracy["mean"][-1] > 0.7


def test_omniglots_presets_ship():
    shipped = keras_meta.list_presets()
    assert {"omniglot_5way_maml", "omniglot_5way_meta_sgd"} <= set(shipped)
