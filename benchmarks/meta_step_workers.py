"""Takes meta-steps in one process, timed on request.

A worker prints `ready` when it is compiled, then for each line it reads takes
`--steps` meta-steps and prints the seconds they took; `turns.py` starts it. Every
library does the same work: Meta-SGD (rates of every weight and the initialisation are
learned, exact meta-gradient), Adam outside, tasks drawn inside the step. This file
holds keras_meta's, `peer_workers.py` the others'.
"""

import argparse
import os

import peer_workers
from meta_step_problems import (
    CONV_LAYERS,
    CONV_TASKS,
    DENSE_TASKS,
    DENSE_WIDTHS,
    FILTERS,
    OUTER_RATE,
    QUERIES,
    RATE,
    SHOTS,
    SIDE,
    WAYS,
    conv_images,
)


def keras_model(network, filters):
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    if network == "dense":
        model = keras.Sequential([keras.Input((DENSE_WIDTHS[0],))])
        for width in DENSE_WIDTHS[1:-1]:
            model.add(layers.Dense(width, "relu", kernel_initializer="he_normal"))
        model.add(layers.Dense(DENSE_WIDTHS[-1]))
        return model, "mse"
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1))])
    for _ in range(CONV_LAYERS):
        model.add(layers.Conv2D(filters, 3, strides=2, padding="same"))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(WAYS))
    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def keras_meta_tasks(network, queries):
    from keras_meta import tasks

    if network == "dense":
        return tasks.Sinusoid(shots=SHOTS, queries=SHOTS), DENSE_TASKS
    return (
        tasks.FewShotClassification(
            conv_images(), None, ways=WAYS, shots=1, queries=queries
        ),
        CONV_TASKS,
    )


def run_keras_meta(options):
    """Times epochs of a real `fit`, from inside it."""
    import keras
    import tensorflow as tf
    from fit_turns import FitTurns

    import keras_meta

    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    if options.operations:
        tf.config.threading.set_inter_op_parallelism_threads(options.operations)
    model, loss = keras_model(options.network, options.filters)
    trainer = keras_meta.MetaTrainer(
        model,
        keras_meta.MetaSGD(alpha_init=RATE),
        inner_steps=options.inner_steps,
        task_axis=options.task_axis,
        seed=0,
    )
    jit = {"auto": "auto", "on": True, "off": False}[options.jit]
    trainer.compile(keras.optimizers.Adam(OUTER_RATE), loss=loss, jit_compile=jit)
    tasks, meta_batch_size = keras_meta_tasks(options.network, options.queries)

    trainer.fit(
        tasks,
        meta_batch_size=meta_batch_size,
        steps_per_epoch=options.steps,
        epochs=10**6,
        verbose=0,
        callbacks=[FitTurns()],
    )


def main():
    parser = argparse.ArgumentParser()
    runners = {
        "keras_meta": run_keras_meta,
        "jax": peer_workers.run_jax,
        "torch": peer_workers.run_torch,
        "learn2learn": peer_workers.run_learn2learn,
    }
    parser.add_argument("library", choices=list(runners))
    parser.add_argument("network", choices=["dense", "conv"])
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--jit", choices=["auto", "on", "off"], default="auto")
    parser.add_argument(
        "--task-axis", choices=["auto", "vectorize", "sequential"], default="auto"
    )
    parser.add_argument("--cores", help="such as 0,1; default: all")
    parser.add_argument("--threads", type=int, help="of one operation (not of JAX)")
    parser.add_argument("--operations", type=int, help="at once, of keras_meta")
    parser.add_argument("--prepared", action="store_true", help="learn2learn's tasks")
    parser.add_argument("--filters", type=int, default=FILTERS, help="of keras_meta")
    parser.add_argument("--queries", type=int, default=QUERIES, help="of keras_meta")
    options = parser.parse_args()
    if options.cores:
        # Before any library counts the cores.
        os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    runners[options.library](options)


if __name__ == "__main__":
    main()
