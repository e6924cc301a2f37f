"""Times a training step of `fit` with MetaSGD beside Keras' own SGD.

A multi-layer perceptron of a million weights, batches of 128, one process, the two
optimizers in turns; a ratio is between two neighbouring epochs. Writes
`results/fit_step_time.json`.

    python benchmarks/fit_step_time.py [--rounds 15] [--quick]
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from recording import machine, percentiles, write_json

import keras_meta

HERE = pathlib.Path(__file__).parent
WIDTH = 800
BATCH_SIZE = 128
BATCHES = 40
BASE = "keras.optimizers.SGD"


def perceptron():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((400,)),
            layers.Dense(WIDTH, "relu"),
            layers.Dense(WIDTH, "relu"),
            layers.Dense(10),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "fit_step_time.json")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE * BATCHES, 400)).astype("float32")
    y = rng.integers(0, 10, len(x))
    optimizers = {
        BASE: keras.optimizers.SGD(0.01),
        "MetaSGD": keras_meta.MetaSGD(seed=0),
        'MetaSGD(granularity="tensor")': keras_meta.MetaSGD(
            granularity="tensor", seed=0
        ),
        'MetaSGD(rate_map="linear")': keras_meta.MetaSGD(rate_map="linear", seed=0),
        "MetaSGD(online=True)": keras_meta.MetaSGD(online=True, seed=0),
        "keras.optimizers.Adam": keras.optimizers.Adam(1e-3),
    }
    models, times = {}, {}
    for name, optimizer in optimizers.items():
        model = perceptron()
        model.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
        models[name], times[name] = model, []
    for _ in range(2 if options.quick else options.rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
            seconds = time.perf_counter() - start
            times[name].append(seconds / BATCHES * 1e3)
    rows = {
        name: {
            "milliseconds": percentiles(values),
            "ratio_to_sgd": percentiles(
                [v / b for v, b in zip(values, times[BASE], strict=True)]
            ),
        }
        for name, values in times.items()
    }
    for name, row in rows.items():
        print(name, row)
    write_json(
        options.output,
        {
            "machine": machine(),
            "parameters": models[BASE].count_params(),
            "batch_size": BATCH_SIZE,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
