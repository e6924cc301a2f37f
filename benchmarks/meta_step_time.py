"""Times one meta-step of Meta-SGD in each way that keras_meta can compute it.

The task axis and XLA against what `"auto"` chooses; other libraries are in
`against_peers.py`. Writes `results/meta_step_time.json`.

    python benchmarks/meta_step_time.py [--rounds 15] [--quick]
"""

import argparse
import pathlib

from recording import machine, percentiles, write_json
from turns import time_in_turns

HERE = pathlib.Path(__file__).parent
DEFAULT = "default"
# Meta-steps a turn; each turn should take a good part of a second.
DENSE = {
    DEFAULT: (1000, []),
    "vectorize, XLA": (1000, ["--jit=on", "--task-axis=vectorize"]),
    "vectorize, plain graph": (500, ["--jit=off", "--task-axis=vectorize"]),
    "sequential, XLA": (20, ["--jit=on", "--task-axis=sequential"]),
    "sequential, plain graph": (20, ["--jit=off", "--task-axis=sequential"]),
}
CONV = {
    DEFAULT: (10, []),
    "sequential, XLA": (2, ["--jit=on", "--task-axis=sequential"]),
}


def cases(quick):
    """Returns `(name, network, inner steps, variants)`."""
    if quick:
        few = {label: DENSE[label] for label in (DEFAULT, "vectorize, XLA")}
        return [("dense, 1 inner step", "dense", 1, few)]
    return [
        ("dense, 1 inner step", "dense", 1, DENSE),
        ("dense, 5 inner steps", "dense", 5, DENSE),
        ("convolutional, 1 inner step", "conv", 1, CONV),
        ("convolutional, 5 inner steps", "conv", 5, CONV),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "meta_step_time.json")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    results = []
    for name, network, inner_steps, variants in cases(options.quick):
        print(name, flush=True)
        common = ["keras_meta", network, f"--inner-steps={inner_steps}"]
        times, left_out = time_in_turns(
            {
                label: (steps, [*common, *arguments])
                for label, (steps, arguments) in variants.items()
            },
            rounds,
        )
        rows = {}
        for label, values in times.items():
            ratios = [v / d for v, d in zip(values, times[DEFAULT], strict=True)]
            rows[label] = {
                "milliseconds": percentiles(values),
                "ratio_to_default": percentiles(ratios),
            }
            print(f"  {label}: {rows[label]}", flush=True)
        results.append({"case": name, "rows": rows, "left_out": left_out})
        write_json(
            options.output,
            {"machine": machine(), "rounds": rounds, "results": results},
        )


if __name__ == "__main__":
    main()
