"""What one step of a learned optimizer costs, beside Keras' Adam: time and memory.

The optimizer alone, on given gradients of six variables of 10^4 to 10^6 weights in
all, in plain graphs and with XLA. Each case runs in a process of its own; its median
time of a step is divided by that of Adam in the same round, and the peak of its
resident memory is taken before the optimizer is built and after its steps. Writes
`results/optimizer_step_cost.json`.

    python benchmarks/optimizer_step_cost.py [--rounds 3] [--quick]
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from recording import machine, write_json

HERE = pathlib.Path(__file__).parent
WEIGHTS = (10_000, 100_000, 1_000_000)
STEPS = {10_000: 20, 100_000: 8, 1_000_000: 4}
SHARES = (0.4, 0.02, 0.4, 0.02, 0.15, 0.01)  # of the weights, in six variables
OPTIMIZERS = ("Adam", "LSTMOptimizer", "LSTMOptimizer, normalized", "MetaLSTM")


def measure(name, weights, jit_compile):
    """Takes steps; prints milliseconds a step and extra mebibytes as JSON."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_meta

    made = {
        "Adam": lambda: keras.optimizers.Adam(1e-3),
        "LSTMOptimizer": lambda: keras_meta.LSTMOptimizer(seed=0),
        "LSTMOptimizer, normalized": lambda: keras_meta.LSTMOptimizer(
            inputs="normalized", seed=0
        ),
        "MetaLSTM": lambda: keras_meta.MetaLSTM(seed=0),
    }
    random = np.random.default_rng(0)
    sizes = [round(share * weights) for share in SHARES]
    variables = [keras.Variable(random.normal(size=n).astype("float32")) for n in sizes]
    gradients = [tf.constant(random.normal(size=n), "float32") for n in sizes]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    optimizer = made[name]()
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step():
        optimizer.apply(gradients, variables)

    begin = time.perf_counter()
    step()
    first = time.perf_counter() - begin
    times = []
    for _ in range(STEPS[weights]):
        begin = time.perf_counter()
        step()
        variables[0].numpy()  # waits for the step
        times.append(time.perf_counter() - begin)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "milliseconds": 1e3 * statistics.median(times),
                "first_call_seconds": first,
                "extra_mebibytes": (after - before) / 2**10,
            }
        )
    )


def run(name, weights, jit_compile):
    """Returns what `measure` prints, from a process of its own."""
    arguments = [__file__, "--measure", name, str(weights), str(int(jit_compile))]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        "--output", default=HERE / "results" / "optimizer_step_cost.json"
    )
    options = parser.parse_args()
    if options.measure:
        name, weights, jit_compile = options.measure
        measure(name, int(weights), bool(int(jit_compile)))
        return
    rows = []
    for weights in WEIGHTS[:1] if options.quick else WEIGHTS:
        for jit_compile in (False, True):
            rounds = [
                {name: run(name, weights, jit_compile) for name in OPTIMIZERS}
                for _ in range(1 if options.quick else options.rounds)
            ]
            for name in OPTIMIZERS:
                found = [each[name] for each in rounds]
                ratios = [
                    each[name]["milliseconds"] / each["Adam"]["milliseconds"]
                    for each in rounds
                ]
                row = {
                    "optimizer": name,
                    "weights": weights,
                    "xla": jit_compile,
                    **{
                        key: statistics.median(one[key] for one in found)
                        for key in found[0]
                    },
                    "time_adam_1": statistics.median(ratios),
                    "time_adam_1_range": [min(ratios), max(ratios)],
                }
                rows.append(row)
                print(row, flush=True)
    write_json(
        options.output, {"machine": machine(), "rounds": options.rounds, "rows": rows}
    )


if __name__ == "__main__":
    main()
