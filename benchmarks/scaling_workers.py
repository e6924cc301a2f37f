"""Meta-trains alone or as one of several workers, timed on request; see `scaling.py`.

A worker prints `ready`, then the seconds of `--steps` meta-steps for each line that it
reads. At its end the chief writes what a meta-step communicates into `--bytes`.
"""

import argparse
import contextlib
import json
import os
import pathlib

WORKLOADS = ("sinusoid", "conv", "conv, 64 tasks", "learned optimizer")


def made(workload):
    """Returns a compiled trainer, its tasks and its meta-batch size."""
    import keras
    from meta_step_problems import FILTERS, OUTER_RATE, QUERIES, RATE
    from meta_step_workers import keras_meta_tasks, keras_model

    import keras_meta

    keras.utils.set_random_seed(0)
    outer = keras.optimizers.Adam(OUTER_RATE)
    if workload == "learned optimizer":
        trainer = keras_meta.OptimizerTrainer(
            keras_meta.LSTMOptimizer(seed=0), horizon=100, truncation=20, seed=0
        )
        trainer.compile(outer, steps_per_execution=1)
        return trainer, keras_meta.tasks.Quadratic(10), 16
    network = "dense" if workload == "sinusoid" else "conv"
    model, loss = keras_model(network, FILTERS)
    trainer = keras_meta.MetaTrainer(
        model, keras_meta.MetaSGD(alpha_init=RATE, seed=0), seed=0
    )
    trainer.compile(outer, loss)
    tasks, meta_batch_size = keras_meta_tasks(network, QUERIES)
    if workload == "conv, 64 tasks":
        meta_batch_size = 64
    return trainer, tasks, meta_batch_size // 2 * 2  # Two processes share it.


def counting(messages):
    """Makes replicas note the bytes of each message that is traced."""
    from keras_meta.training.distributed.replicas import Replicas

    summed = Replicas.sum

    def noted(self, tensors):
        sizes = [t.shape.num_elements() * t.dtype.size for t in tensors]
        messages.append(sum(sizes))
        return summed(self, tensors)

    Replicas.sum = noted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--cluster", help="addresses of all workers")
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--bytes", type=pathlib.Path)
    options = parser.parse_args()
    # Before TensorFlow counts the cores.
    os.sched_setaffinity(0, {options.core})
    messages, strategy = [], None
    import tensorflow as tf

    if options.cluster:
        cluster = {"worker": options.cluster.split(",")}
        task = {"type": "worker", "index": options.index}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        counting(messages)

    from fit_turns import FitTurns

    class Turns(FitTurns):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                messages.clear()  # What was exchanged before the first step.
            if epoch == 1 and options.bytes:
                options.bytes.write_text(json.dumps(messages))
            super().on_epoch_begin(epoch, logs)

    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer, tasks, meta_batch_size = made(options.workload)
    trainer.fit(
        tasks,
        meta_batch_size,
        steps_per_epoch=options.steps,
        epochs=10**6,
        callbacks=[Turns()],
        verbose=0,
    )


if __name__ == "__main__":
    main()
