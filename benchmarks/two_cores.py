"""Compares meta-training on two cores with meta-training on one.

Processes are pinned to their cores (Linux) before TensorFlow counts them, and take
turns; every ratio is between times of one round. Two processes on a core each, at once,
tell what the machine itself can give: its second core may be half of the first. The
processes are started more than once, since two of a kind differ more than a process
from round to round. Writes `results/two_cores.json`.

    python benchmarks/two_cores.py [--starts 3] [--rounds 7] [--quick]

The net of `meta_step_workers.py` with convolutions: 16 five-way one-shot tasks, one
inner step. TensorFlow splits each operation among the cores, and these operations are
too small for that. keras_meta maps over tasks with `tf.map_fn`, whose iterations run
side by side, so that each core can have whole operations instead. TensorFlow has such
settings for the whole process only, thus they are the user's, before anything else:

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(cores + 1)

or TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS in the environment. One more than
cores: a thread that waits for another must leave no core idle.
"""

import argparse
import os
import pathlib

from recording import machine, percentiles, write_json
from turns import WORKERS, Worker

HERE = pathlib.Path(__file__).parent
TARGET = 1.6
STEPS = 3  # a turn
# How many threads an operation has, and how many operations run at once.
THREADS = {
    "default": [],
    "one thread an operation": ["--threads=1"],
    "and three operations at once": ["--threads=1", "--operations=3"],
}
CASES = [(32, 5), (32, 15), (64, 5), (64, 15)]  # filters, queries a class


def take_turns(net, cores, rounds):
    """Starts processes afresh; yields one round after another.

    Yields:
        Tuple `(milliseconds on one core, ratio of two processes, {label: ratio})`.
    """

    def worker(cores, *settings):
        pinned = f"--cores={','.join(str(core) for core in cores)}"
        return Worker(WORKERS, ["keras_meta", "conv", *net, pinned, *settings], STEPS)

    first, second = worker(cores[:1]), worker(cores[1:])
    pairs = {label: worker(cores, *settings) for label, settings in THREADS.items()}
    workers = [first, second, *pairs.values()]
    for process in workers:
        reason = process.failure()
        if reason is not None:
            raise RuntimeError(f"A worker of {net} ended with {reason}")
    for _ in range(rounds):
        single, single_other = first.turn(), second.turn()
        first.begin()
        second.begin()
        at_once = single / first.end() + single_other / second.end()
        # The cores may be unequally busy: two are compared with their mean speed.
        mean = 2.0 / (1.0 / single + 1.0 / single_other)
        yield mean, at_once, {name: mean / pair.turn() for name, pair in pairs.items()}
    for process in workers:
        process.close()


def measure(filters, queries, cores, starts, rounds):
    """Returns what the JSON says of one net."""
    net = [f"--filters={filters}", f"--queries={queries}"]
    taken = []
    for _ in range(starts):
        taken += take_turns(net, cores, rounds)
    alone, at_once, ratios = zip(*taken, strict=True)
    return {
        "filters": filters,
        "queries": queries,
        "one_core_milliseconds": percentiles(alone),
        "two_processes": percentiles(at_once),
        "two_cores": {
            label: percentiles([ratio[label] for ratio in ratios]) for label in THREADS
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7, help="after each start")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "two_cores.json")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("This benchmark needs two cores. Received: one.")
    starts, rounds = (1, 2) if options.quick else (options.starts, options.rounds)
    results = []
    for filters, queries in CASES[:1] if options.quick else CASES:
        results.append(measure(filters, queries, cores, starts, rounds))
        print(results[-1], flush=True)
        write_json(
            options.output,
            {
                "machine": machine(),
                "rounds": starts * rounds,
                "target": TARGET,
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
