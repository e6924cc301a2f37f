"""Reproduces the sinusoid table of the Meta-SGD paper (Li et al. 2017, table 1).

MAML and Meta-SGD are meta-trained on 5, 10 and 20 shots, one inner step, and tested
on 5, 10 and 20 shots of 600 new tasks each: mean squared error after one step, with
95 % intervals. Sinusoids as in the paper: amplitude [0.1, 5], phase [0, pi],
frequency [0.8, 1.2], inputs [-5, 5], network 1-40-40-1 with ReLU. Writes
`results/sinusoid_table.json`.

    python benchmarks/sinusoid_table.py [--iterations 60000] [--quick]
"""

import argparse
import pathlib
import time

import keras
from recording import machine, write_json

import keras_meta
from keras_meta.tasks import Sinusoid

HERE = pathlib.Path(__file__).parent
SHOTS = (5, 10, 20)
TEST_TASKS = 600
TEST_QUERIES = 100
META_BATCH_SIZE = 4
MAML_RATE = 0.01

# Table 1 of arXiv:1707.09835: trained on -> tested on 5, 10, 20 shots.
PAPER = {
    "MAML": {5: (1.13, 0.85, 0.71), 10: (1.17, 0.77, 0.56), 20: (1.29, 0.76, 0.48)},
    "Meta-SGD": {5: (0.90, 0.63, 0.50), 10: (0.88, 0.53, 0.35), 20: (1.01, 0.54, 0.31)},
}


def inner_optimizer(method):
    if method == "MAML":
        return keras_meta.SGD(MAML_RATE)
    return keras_meta.MetaSGD(seed=0)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(40, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(1, kernel_initializer="he_normal"),
        ]
    )


def run(method, train_shots, iterations):
    """Meta-trains one learner and tests it; returns a row of the table."""
    trainer = keras_meta.MetaTrainer(network(), inner_optimizer(method), seed=0)
    trainer.compile(keras.optimizers.Adam(1e-3), loss="mse")
    epochs = 10
    start = time.perf_counter()
    trainer.fit(
        Sinusoid(shots=train_shots, queries=train_shots),
        meta_batch_size=META_BATCH_SIZE,
        steps_per_epoch=iterations // epochs,
        epochs=epochs,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    row = {
        "method": method,
        "train_shots": train_shots,
        "seconds": seconds,
        "iterations": iterations,
        "test": {},
    }
    for shots in SHOTS:
        loss = trainer.evaluate(
            Sinusoid(shots=shots, queries=TEST_QUERIES),
            episodes=TEST_TASKS,
            verbose=0,
        )["loss"]
        row["test"][str(shots)] = {
            "before": loss["mean"][0],
            "mean": loss["mean"][1],
            "ci95": loss["ci95"][1],
            "paper": PAPER[method][train_shots][SHOTS.index(shots)],
        }
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=60_000)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "sinusoid_table.json")
    options = parser.parse_args()
    iterations = 1_000 if options.quick else options.iterations
    rows = []
    for method in PAPER:
        for train_shots in SHOTS[:1] if options.quick else SHOTS:
            rows.append(run(method, train_shots, iterations))
            print(rows[-1], flush=True)
    write_json(
        options.output,
        {
            "machine": machine(),
            "test_tasks": TEST_TASKS,
            "meta_batch_size": META_BATCH_SIZE,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
