"""Meta-training in several processes: each takes its share of the tasks.

Run it with `python examples/distributed_meta_training.py`: it starts two workers on
this machine, which meta-train one convolutional network together, and writes
`distributed.kmeta` to the current folder. A worker that is killed is started again,
and training goes on from the last epoch. `--quick` takes a few steps only.

On a cluster, start the same file on every machine, with TF_CONFIG in its environment,
one index for each machine:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
                "task": {"type": "worker", "index": 0}}'

Worker 0 is the chief: it alone prints and writes files. Let the scheduler start all
workers again if one of them ends; `--backup` then names a folder that the chief finds
again.
"""

import argparse
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_meta


def make_tasks():
    """Returns five-way one-shot tasks on noisy symbols of 28 x 28 pixels."""
    random = np.random.default_rng(0)  # The same on every worker.
    symbols = random.random((40, 1, 28, 28, 1)) < 0.2
    noise = random.random((40, 20, 28, 28, 1)) < 0.05
    images = (symbols ^ noise).astype("float32")
    return keras_meta.tasks.FewShotClassification(images, ways=5, shots=1, queries=5)


def build_model():
    layers = [keras.Input((28, 28, 1))]
    for _ in range(3):
        layers.append(keras.layers.Conv2D(16, 3, strides=2, activation="relu"))
    layers += [keras.layers.Flatten(), keras.layers.Dense(5)]
    return keras.Sequential(layers)


def train(options):
    # Before anything else of TensorFlow: it connects the workers.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(0)
    tasks = make_tasks()
    with strategy.scope():
        trainer = keras_meta.MetaTrainer(
            build_model(), keras_meta.SGD(0.1), inner_steps=3, seed=0
        )
        trainer.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    trainer.fit(
        tasks,
        meta_batch_size=4 if options.quick else 16,  # of all workers together
        steps_per_epoch=2 if options.quick else 50,
        epochs=2 if options.quick else 10,
        callbacks=[keras.callbacks.BackupAndRestore(options.backup)],
        verbose=2,
    )
    # Every worker evaluates, and one of them says what came out.
    result = trainer.evaluate(tasks, episodes=10 if options.quick else 200, verbose=0)
    if strategy.cluster_resolver.task_id == 0:
        trainer.save_preset("distributed.kmeta", title="Noisy symbols, two workers")
        print(f"accuracy after adaptation: {result['accuracy']['mean'][-1]:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="on this machine")
    parser.add_argument("--backup", default="distributed_backup", help="a folder")
    parser.add_argument("--quick", action="store_true", help="a few meta-steps only")
    options = parser.parse_args()
    if "TF_CONFIG" in os.environ:
        train(options)
        return
    command = [sys.executable, *sys.argv]
    restarts = keras_meta.training.run_local_workers(command, options.workers)
    print(f"{options.workers} workers have ended well, after {restarts} restarts.")
    if options.quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
