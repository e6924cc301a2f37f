"""Measures what `remat=True` saves and costs: memory and time against inner steps.

MAML, exact meta-gradients, on random 5-way 5-shot images of 28x28: four 3x3
convolutions of 64 filters with batch normalisation and max pooling. Each number of
inner steps runs in a process of its own, with and without recomputation, whose peak
resident memory and time of a meta-step are read. At last, the largest number of steps
runs both ways in processes that may hold only `LIMIT_MEBIBYTES`. Writes
`results/recomputation.json`.

    python benchmarks/recomputation.py [--quick]
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

from recording import machine, write_json

HERE = pathlib.Path(__file__).parent
INNER_STEPS = (1, 5, 10, 20, 50)
META_BATCH_SIZE = 4
META_STEPS = 3
LIMIT_MEBIBYTES = 2048


def measure(inner_steps, remat, limit):
    """Takes a few meta-steps and prints peak and time as JSON."""
    if limit:
        allowed = limit * 2**20
        # Heap and private mappings, without what libraries only reserve.
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    import keras
    import numpy as np

    import keras_meta

    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 1))]
    for _ in range(4):
        layers += [
            keras.layers.Conv2D(64, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(5)])
    images = np.random.default_rng(0).random((20, 20, 28, 28), "float32")
    trainer = keras_meta.MetaTrainer(
        model, keras_meta.SGD(0.01), inner_steps=inner_steps, remat=remat, seed=0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    tasks = keras_meta.tasks.FewShotClassification(images, ways=5, shots=5)

    def take(meta_steps):
        trainer.fit(tasks, META_BATCH_SIZE, meta_steps, verbose=0)

    take(META_STEPS)
    begin = time.perf_counter()
    take(META_STEPS)
    seconds = (time.perf_counter() - begin) / META_STEPS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"peak_mebibytes": peak, "seconds": seconds}))


def run(inner_steps, remat, limit=0):
    """Returns what a process of its own measured; None if it died."""
    command = [sys.executable, __file__, "--worker"]
    command += [str(inner_steps), str(int(remat)), str(limit)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode and not limit:
        raise RuntimeError(process.stderr[-2000:])
    if process.returncode:
        return None
    return json.loads(process.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--worker", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", default=HERE / "results" / "recomputation.json")
    options = parser.parse_args()
    if options.worker:
        inner_steps, remat, limit = options.worker
        measure(inner_steps, bool(remat), limit)
        return
    rows = []
    for inner_steps in INNER_STEPS[:2] if options.quick else INNER_STEPS:
        row = {"inner_steps": inner_steps}
        for name, remat in (("kept", False), ("recomputed", True)):
            row[name] = run(inner_steps, remat)
        rows.append(row)
        print(row, flush=True)
    most = rows[-1]["inner_steps"]
    limited = {
        name: run(most, remat, LIMIT_MEBIBYTES) is not None
        for name, remat in (("kept", False), ("recomputed", True))
    }
    print(f"{most} steps run within {LIMIT_MEBIBYTES} MiB:", limited)
    write_json(
        options.output,
        {
            "machine": machine(),
            "meta_batch_size": META_BATCH_SIZE,
            "rows": rows,
            "limit_mebibytes": LIMIT_MEBIBYTES,
            "runs_within_limit": limited,
        },
    )


if __name__ == "__main__":
    main()
