"""The encoder that meta-training starts from: a classifier of background characters.

Every background character in four directions is a class; the network learns to tell
them apart from single images, moved and turned a little, in plain Keras. The encoder
is kept, its head is not.
"""

import json
import time

import keras
import numpy as np
from omniglot_runs import LOSS, encoder

EPOCHS = {"conv": 16, "dense": 16}
BATCH_SIZE = 128
RATE = 3e-3


def pretrained_weights(net, images, folder, epochs=None):
    """Returns an encoder's weights, trained now or read from `folder`.

    Args:
        net: a name of `encoder()`.
        images: uint8 `(characters, 20, 28, 28)`.
        folder: path, where the weights are kept.
        epochs: int or None for `EPOCHS`.

    Returns:
        Tuple `(weights, facts)`: list of arrays, dict.
    """
    epochs = EPOCHS[net] if epochs is None else epochs
    keras.utils.set_random_seed(0)
    network = encoder(net)
    weights = folder / f"pretrained_{net}_{epochs}.weights.h5"
    record = folder / f"pretrained_{net}_{epochs}.json"
    if record.exists():
        network.load_weights(weights)
        return network.get_weights(), json.loads(record.read_text())
    turned = [np.rot90(images, turn, axes=(2, 3)) for turn in range(4)]
    x = np.concatenate(turned)  # (classes, 20, 28, 28)
    y = np.repeat(np.arange(len(x)), x.shape[1])
    x = x.reshape(-1, 28, 28, 1).astype("float32")
    classifier = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *_moved(),
            network,
            keras.layers.Dense(int(y[-1]) + 1),
        ]
    )
    begin = time.perf_counter()
    accuracy = 0.0
    if epochs:
        steps = epochs * (len(x) // BATCH_SIZE)
        schedule = keras.optimizers.schedules.CosineDecay(RATE, steps)
        classifier.compile(keras.optimizers.Adam(schedule), LOSS, metrics=["accuracy"])
        history = classifier.fit(
            x,
            y,
            batch_size=BATCH_SIZE,
            epochs=epochs,
            callbacks=[keras.callbacks.BackupAndRestore(folder / f"pretraining_{net}")],
            verbose=2,
        )
        accuracy = history.history["accuracy"][-1]
    facts = {
        "classes": len(x) // images.shape[1],
        "epochs": epochs,
        "training_accuracy": accuracy,
        "seconds": time.perf_counter() - begin,
    }
    network.save_weights(weights)
    record.write_text(json.dumps(facts))
    return network.get_weights(), facts


def _moved():
    """Layers that turn by up to 14 degrees, shift by 2 pixels, scale by 12 %."""
    layers = keras.layers
    return [
        layers.RandomRotation(0.04, fill_mode="constant"),
        layers.RandomTranslation(0.07, 0.07, fill_mode="constant"),
        layers.RandomZoom((-0.12, 0.12), (-0.12, 0.12), fill_mode="constant"),
    ]
