"""Meta-steps a second of two processes beside those of one.

Every process is pinned to a core of its own (Linux). A lone process on each core, and
a pair that trains one model together, take turns; each ratio is between times of one
round. The cores may be unequally busy, so a pair is compared with the mean speed of the
lone processes. The bytes that a meta-step communicates are counted in the program, as
it makes the messages. Workloads that are not named stay as recorded. Writes
`results/scaling.json`.

    python benchmarks/scaling.py [--rounds 11] [--quick]
"""

import argparse
import json
import os
import pathlib
import socket
import tempfile

from recording import kept, machine, percentiles, write_json
from scaling_workers import WORKLOADS
from turns import Worker

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "scaling_workers.py"
STEPS = {  # a turn
    "sinusoid": 300,
    "conv": 40,
    "conv, 64 tasks": 10,
    "learned optimizer": 20,
}
TARGET = 1.7  # of conv


def addresses():
    """Returns two free addresses of the loopback, joined by a comma."""
    sockets = [socket.socket(), socket.socket()]
    for each in sockets:
        each.bind(("localhost", 0))
    found = ",".join(f"localhost:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return found


def measure(workload, cores, rounds, steps):
    """Returns what the JSON says of one workload."""
    with tempfile.TemporaryDirectory() as folder:
        note = pathlib.Path(folder) / "bytes.json"
        alone = [Worker(PROGRAM, [workload, f"--core={c}"], steps) for c in cores]
        cluster = f"--cluster={addresses()}"
        pair = [
            Worker(
                PROGRAM,
                [workload, f"--core={core}", cluster, f"--index={index}"]
                + ([f"--bytes={note}"] if index == 0 else []),
                steps,
            )
            for index, core in enumerate(cores)
        ]
        for worker in [*alone, *pair]:
            reason = worker.failure()
            if reason is not None:
                raise RuntimeError(f"A worker of {workload} ended with {reason}")
        messages = json.loads(note.read_text())
    ones, twos, ratios = [], [], []
    for _ in range(rounds):
        one = 2.0 / sum(1.0 / worker.turn() for worker in alone)
        for worker in pair:
            worker.begin()
        two = max(worker.end() for worker in pair)
        ones.append(1e3 / one)
        twos.append(1e3 / two)
        ratios.append(one / two)
    for worker in pair:  # Both at once: one waits for the other.
        worker.process.stdin.close()
    for worker in alone:
        worker.close()
    for worker in pair:
        worker.process.wait()
        worker.errors.close()
    return {
        "workload": workload,
        "one_process_steps_a_second": percentiles(ones),
        "two_processes_steps_a_second": percentiles(twos),
        "ratio": percentiles(ratios),
        "message_bytes": messages,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--output", default=HERE / "results" / "scaling.json")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("This benchmark needs two cores. Received: one.")
    rounds = 2 if options.quick else options.rounds
    results = kept(options.output, "workload", options.workloads, rounds)
    for workload in options.workloads:
        steps = 2 if options.quick else STEPS[workload]
        results.append(measure(workload, cores, rounds, steps))
        print(results[-1], flush=True)
        results.sort(key=lambda result: WORKLOADS.index(result["workload"]))
        write_json(
            options.output,
            {
                "machine": machine(),
                "rounds": rounds,
                "target": TARGET,
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
