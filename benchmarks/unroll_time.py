"""Times a meta-step of a learned LSTM optimizer beside JAX' `lax.scan`.

What a meta-step does is in `unroll_workers.py`. Writes `results/unroll_time.json`.

    python benchmarks/unroll_time.py [--rounds 9] [--quick]
"""

import argparse
import pathlib

from recording import machine, percentiles, write_json
from turns import time_in_turns

HERE = pathlib.Path(__file__).parent
OURS = "keras_meta, plain graph"
IMPLEMENTATIONS = {
    OURS: (10, ["keras_meta"]),
    "keras_meta, XLA": (10, ["keras_meta", "--jit=on"]),
    "JAX jit(scan)": (10, ["jax"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "unroll_time.json")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    times, left_out = time_in_turns(IMPLEMENTATIONS, rounds, HERE / "unroll_workers.py")
    rows = {}
    for label, values in times.items():
        ratios = [v / ours for v, ours in zip(values, times[OURS], strict=True)]
        rows[label] = {
            "milliseconds": percentiles(values),
            "ratio_to_default": percentiles(ratios),
        }
        print(f"{label}: {rows[label]}", flush=True)
    write_json(
        options.output,
        {"machine": machine(), "rounds": rounds, "rows": rows, "left_out": left_out},
    )


if __name__ == "__main__":
    main()
