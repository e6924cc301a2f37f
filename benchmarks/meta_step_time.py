"""Times one meta-step of Meta-SGD, here and in the peers that can be imported.

Every implementation runs in a process of its own; they take turns, round by round,
and a ratio is always between two times of the same round. Writes
`results/meta_step_time.json`.

    python benchmarks/meta_step_time.py [--rounds 15] [--quick]

torch and jax are optional (`pip install torch jax`); what is missing is left out of
the table, by name.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys

from recording import machine, percentiles, write_json

HERE = pathlib.Path(__file__).parent
OURS = "keras_meta, default"


def cases(quick):
    """Returns `(name, network, inner steps, {label: worker arguments})`."""
    dense = {
        OURS: ["keras_meta", "--steps=1000"],
        "keras_meta, vectorize, XLA": [
            "keras_meta", "--steps=1000", "--jit=on", "--task-axis=vectorize",
        ],
        "keras_meta, vectorize, plain graph": [
            "keras_meta", "--steps=500", "--jit=off", "--task-axis=vectorize",
        ],
        "keras_meta, sequential, XLA": [
            "keras_meta", "--steps=20", "--jit=on", "--task-axis=sequential",
        ],
        "keras_meta, sequential, plain graph": [
            "keras_meta", "--steps=20", "--jit=off", "--task-axis=sequential",
        ],
        "JAX jit(scan)": ["jax", "--steps=1000"],
        "torch.func": ["torch", "--steps=50"],
    }  # fmt: skip
    conv = {
        OURS: ["keras_meta", "--steps=10"],
        "keras_meta, sequential, XLA": [
            "keras_meta", "--steps=2", "--jit=on", "--task-axis=sequential",
        ],
        "JAX jit(scan), lax.map": ["jax", "--steps=2", "--task-axis=sequential"],
        "JAX jit(scan), vmap": ["jax", "--steps=1"],
        "torch.func": ["torch", "--steps=1"],
    }  # fmt: skip
    if quick:
        dense = {label: dense[label] for label in (OURS, "JAX jit(scan)")}
        return [("dense, 1 inner step", "dense", 1, dense)]
    # vmap makes of the convolutions a grouped one, JAX' slower way by far.
    five = {label: row for label, row in conv.items() if "vmap" not in label}
    return [
        ("dense, 1 inner step", "dense", 1, dense),
        ("dense, 5 inner steps", "dense", 5, dense),
        ("convolutional, 1 inner step", "conv", 1, conv),
        ("convolutional, 5 inner steps", "conv", 5, five),
    ]


def time_in_turns(network, inner_steps, implementations, rounds):
    """Returns `{label: [milliseconds a meta-step in each round]}` and what failed."""
    workers, failed = {}, {}
    times = {}
    for label, (package, *arguments) in implementations.items():
        if importlib.util.find_spec(package) is None:
            failed[label] = f"package {package} is not installed"
            continue
        command = [sys.executable, str(HERE / "meta_step_workers.py"), package]
        command += [network, f"--inner-steps={inner_steps}", *arguments]
        worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if worker.stdout.readline().strip() != "ready":
            failed[label] = f"exit code {worker.wait()}"
            continue
        print(f"  {label}: ready", flush=True)
        steps = int(arguments[0].split("=")[1])
        workers[label], times[label] = (worker, steps), []
    for _ in range(rounds):
        for label, (worker, steps) in workers.items():
            print("go", file=worker.stdin, flush=True)
            times[label].append(float(worker.stdout.readline()) / steps * 1e3)
    for worker, _ in workers.values():
        worker.stdin.close()
        worker.wait()
    return times, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "meta_step_time.json")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    results = []
    for name, network, inner_steps, implementations in cases(options.quick):
        print(name, flush=True)
        times, failed = time_in_turns(network, inner_steps, implementations, rounds)
        rows = {}
        for label, values in times.items():
            ratios = [v / o for v, o in zip(values, times[OURS], strict=True)]
            rows[label] = {
                "milliseconds": percentiles(values),
                "ratio_to_default": percentiles(ratios),
            }
            print(f"  {label}: {rows[label]}", flush=True)
        results.append({"case": name, "rows": rows, "left_out": failed})
        write_json(
            options.output,
            {"machine": machine(), "rounds": rounds, "results": results},
        )


if __name__ == "__main__":
    main()
