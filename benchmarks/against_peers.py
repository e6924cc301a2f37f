"""Times one meta-step of Meta-SGD here and in the peers: learn2learn, torch.func, JAX.

Same tasks, nets and meta-steps, see `meta_step_workers.py`. A row tells how many times
as long as ours the peer takes; for the convolutional net also as long as ours with the
threads that `two_cores.py` sets. Writes `results/against_peers.json`.

    python benchmarks/against_peers.py [--rounds 15] [--quick]

The peers are optional: what is missing is left out, by name. `pip install -e .[peers]`
installs JAX, torch and what builds learn2learn. learn2learn 0.2.0 itself is no part of
the extra: the C sources of its data sets were made by a Cython that knows no Python
after 3.10 (`longintrepr.h: No such file or directory`), and only its `build_ext`
makes them anew, if told so. Install it last, with

    CYTHON_FORCE_REGEN=1 python -m pip install --no-deps --use-pep517 \\
        --no-build-isolation --config-settings=--global-option=build_ext \\
        learn2learn==0.2.0

Only its algorithms are imported, which need torch alone, hence `--no-deps`.
"""

import argparse
import os
import pathlib

from recording import machine, percentiles, write_json
from turns import time_in_turns

HERE = pathlib.Path(__file__).parent
OURS = "keras_meta"
OURS_THREADS_SET = "keras_meta, threads set"
# Meta-steps a turn; torch takes all cores unless told otherwise.
DENSE = {
    OURS: (1000, ["keras_meta"]),
    "learn2learn": (4, ["learn2learn"]),
    "learn2learn, tasks prepared": (4, ["learn2learn", "--prepared"]),
    "learn2learn, tasks prepared, one thread": (
        4,
        ["learn2learn", "--prepared", "--threads=1"],
    ),
    "torch.func": (50, ["torch"]),
    "torch.func, one thread": (50, ["torch", "--threads=1"]),
    "JAX jit(scan)": (1000, ["jax"]),
}
CONV = {
    OURS: (4, ["keras_meta"]),
    OURS_THREADS_SET: (
        4,
        ["keras_meta", "--threads=1", f"--operations={os.cpu_count() + 1}"],
    ),
    "learn2learn": (1, ["learn2learn"]),
    "learn2learn, tasks prepared": (1, ["learn2learn", "--prepared"]),
    "learn2learn, tasks prepared, one thread": (
        1,
        ["learn2learn", "--prepared", "--threads=1"],
    ),
    "torch.func": (2, ["torch"]),
    "torch.func, one thread": (2, ["torch", "--threads=1"]),
    "JAX jit(scan), lax.map": (2, ["jax", "--task-axis=sequential"]),
}
# vmap makes of the convolutions a grouped one, JAX' slower way by far.
CONV_VMAP = {"JAX jit(scan), vmap": (1, ["jax", "--task-axis=vectorize"])}
# At one inner step, ours should be at least so many times as fast.
TARGETS = {
    "dense": {"learn2learn": 45, "torch.func": 7},
    "conv": {"learn2learn": 3, "torch.func": 1.4},
}


def cases(quick):
    """Returns `(name, network, inner steps, implementations)`."""
    if quick:
        return [("dense, 1 inner step", "dense", 1, DENSE)]
    return [
        ("dense, 1 inner step", "dense", 1, DENSE),
        ("dense, 5 inner steps", "dense", 5, DENSE),
        ("convolutional, 1 inner step", "conv", 1, {**CONV, **CONV_VMAP}),
        ("convolutional, 5 inner steps", "conv", 5, CONV),
    ]


def row(label, times, targets):
    """Returns what the JSON says of one implementation."""
    result = {"milliseconds": percentiles(times[label]), "ratio_to": {}}
    for ours in (OURS, OURS_THREADS_SET):
        if ours in times:
            ratios = [v / o for v, o in zip(times[label], times[ours], strict=True)]
            result["ratio_to"][ours] = percentiles(ratios)
    target = targets.get(label.split(",")[0])
    if target is not None:
        result["target"] = target
        result["target_met"] = {
            ours: ratio["median"] >= target
            for ours, ratio in result["ratio_to"].items()
        }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "against_peers.json")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    results = []
    for name, network, inner_steps, implementations in cases(options.quick):
        print(name, flush=True)
        arguments = [network, f"--inner-steps={inner_steps}"]
        times, left_out = time_in_turns(
            {
                label: (steps, [library, *arguments, *others])
                for label, (steps, (library, *others)) in implementations.items()
            },
            rounds,
        )
        for label, reason in left_out.items():
            print(f"  {label} left out: {reason}; see the top of {__file__}")
        targets = TARGETS[network] if inner_steps == 1 else {}
        rows = {label: row(label, times, targets) for label in times}
        for label, values in rows.items():
            print(f"  {label}: {values}", flush=True)
        results.append({"case": name, "rows": rows, "left_out": left_out})
        write_json(
            options.output,
            {"machine": machine(), "rounds": rounds, "results": results},
        )


if __name__ == "__main__":
    main()
