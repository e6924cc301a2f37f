"""Measures the memory of a meta-step: against inner steps, and from step to step.

Each number of inner steps runs in a process of its own, whose peak resident memory
is read after some meta-steps; a further one takes 10,000 meta-steps and reads its
resident memory along the way. Writes `results/meta_step_memory.json`.

    python benchmarks/meta_step_memory.py [--quick]
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys

import numpy as np
from recording import machine, write_json

HERE = pathlib.Path(__file__).parent
INNER_STEPS = (1, 2, 5, 10, 20, 40)
META_BATCH_SIZE = 16
LONG_RUN = 10_000
READINGS = 20


def resident_mebibytes():
    """Returns this process' resident memory (Linux)."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(mode, inner_steps, meta_steps, jit_compile):
    """Meta-trains and prints the peak, or the readings, as JSON."""
    import keras

    import keras_meta

    keras.utils.set_random_seed(0)
    width = 256 if mode == "peak" else 40
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(1),
        ]
    )
    trainer = keras_meta.MetaTrainer(
        model,
        keras_meta.MetaSGD(alpha_init=0.001, seed=0),
        inner_steps=inner_steps,
        task_axis="vectorize",
        seed=0,
    )
    trainer.compile(keras.optimizers.Adam(1e-4), "mse", jit_compile=jit_compile)
    readings = []

    class Read(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            readings.append(resident_mebibytes())

    shots = 100 if mode == "peak" else 10
    trainer.fit(
        keras_meta.tasks.Sinusoid(shots=shots, queries=shots),
        meta_batch_size=META_BATCH_SIZE,
        steps_per_epoch=max(meta_steps // READINGS, 1),
        epochs=READINGS,
        verbose=0,
        callbacks=[Read()],
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"peak": peak, "readings": readings}))


def run(mode, inner_steps, meta_steps, jit_compile):
    command = [sys.executable, __file__, "--worker", mode]
    command += [str(inner_steps), str(meta_steps), str(int(jit_compile))]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout
    return json.loads(output.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--output", default=HERE / "results" / "meta_step_memory.json")
    options = parser.parse_args()
    if options.worker:
        mode, inner_steps, meta_steps, jit_compile = options.worker
        measure(mode, int(inner_steps), int(meta_steps), bool(int(jit_compile)))
        return
    steps = INNER_STEPS[:2] if options.quick else INNER_STEPS
    peaks = {n: run("peak", n, 20, False)["peak"] for n in steps}
    slope, offset = np.polyfit(list(peaks), list(peaks.values()), 1)
    fitted = {n: offset + slope * n for n in steps}
    worst = max(abs(peaks[n] - fitted[n]) for n in steps) / (max(peaks.values()))
    print("peak, MiB:", peaks, "per inner step:", slope, "off the line:", worst)
    long_run = {}
    for name, jit_compile in (("plain graph", False), ("XLA", True)):
        readings = run("long", 1, 200 if options.quick else LONG_RUN, jit_compile)[
            "readings"
        ]
        long_run[name] = readings
        print(name, "MiB along the run:", readings)
    write_json(
        options.output,
        {
            "machine": machine(),
            "meta_batch_size": META_BATCH_SIZE,
            "peak_mebibytes": peaks,
            "mebibytes_per_inner_step": float(slope),
            "largest_distance_from_line": float(worst),
            "long_run_meta_steps": LONG_RUN,
            "long_run_mebibytes": long_run,
        },
    )


if __name__ == "__main__":
    main()
