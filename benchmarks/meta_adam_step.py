"""Times a training step of `fit` with MetaAdam beside Keras' Adam.

Perceptrons of a million weights, of a hundred variables, and a small one, batches of
32, plain and XLA, the optimizers in turns in one process; a ratio is between two
neighbouring epochs. Writes `results/meta_adam_step.json`.

    python benchmarks/meta_adam_step.py [--rounds 15] [--quick]
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from recording import machine, percentiles, write_json

import keras_meta

HERE = pathlib.Path(__file__).parent
BATCH_SIZE, BATCHES = 32, 100
INPUTS = 400
MODELS = {
    "a million weights": (800, 800),
    "a hundred variables": (64,) * 49,
    "a small net": (32, 32),
}
BASE = "Adam"


def perceptron(widths):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((INPUTS,)),
            *[keras.layers.Dense(width, "relu") for width in widths],
            keras.layers.Dense(10),
        ]
    )


def timed(widths, jit, rounds, x, y):
    """Returns milliseconds a step and ratios to Adam, for each optimizer."""
    optimizers = {
        BASE: keras.optimizers.Adam(1e-3),
        "MetaAdam": keras_meta.MetaAdam(),
        "MetaAdam(safeguard=False)": keras_meta.MetaAdam(safeguard=False),
    }
    models, times, state = {}, {}, {}
    for name, optimizer in optimizers.items():
        model = perceptron(widths)
        model.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit,
        )
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
        models[name], times[name] = model, []
        slots = [v for v in optimizer.variables if v.shape]
        state[name] = sum(int(np.prod(v.shape)) for v in slots)
    for _ in range(rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
            times[name].append((time.perf_counter() - start) / BATCHES * 1e3)
    return {
        "parameters": models[BASE].count_params(),
        "variables": len(models[BASE].trainable_variables),
        "jit_compile": jit,
        "optimizers": {
            name: {
                "milliseconds": percentiles(values),
                "ratio_to_adam": percentiles(
                    [v / b for v, b in zip(values, times[BASE], strict=True)]
                ),
                "state_entries": state[name],
            }
            for name, values in times.items()
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "meta_adam_step.json")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE * BATCHES, INPUTS)).astype("float32")
    y = rng.integers(0, 10, len(x))
    rows = {}
    for name, widths in MODELS.items():
        for jit in (False, True):
            label = f"{name}, {'XLA' if jit else 'plain'}"
            rounds = 2 if options.quick else options.rounds
            rows[label] = timed(widths, jit, rounds, x, y)
            for optimizer, row in rows[label]["optimizers"].items():
                print(label, optimizer, row, flush=True)
    write_json(options.output, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
