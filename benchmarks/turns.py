"""Processes that take turns: how times of noisy machines are compared.

Every implementation runs in a process of its own; in each round each takes its turn,
and a ratio is always between two times of the same round.
"""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

WORKERS = pathlib.Path(__file__).parent / "meta_step_workers.py"


class Worker:
    """A process that takes meta-steps, such as `meta_step_workers.py`.

    Args:
        program: path.
        arguments: list of str, its command line.
        steps: int, meta-steps a turn.
    """

    def __init__(self, program, arguments, steps):
        self.steps = steps
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(program), *arguments, f"--steps={steps}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def failure(self):
        """Waits until it is ready; returns None, or why it never will be."""
        if self.process.stdout.readline().strip() == "ready":
            return None
        code = self.process.wait()
        self.errors.seek(0)
        last = self.errors.read().strip().splitlines()[-1:]
        return f"exit code {code}: {''.join(last)}"

    def begin(self):
        print("go", file=self.process.stdin, flush=True)

    def end(self):
        """Returns the milliseconds of a meta-step in the turn that `begin` began."""
        return float(self.process.stdout.readline()) / self.steps * 1e3

    def turn(self):
        self.begin()
        return self.end()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def time_in_turns(implementations, rounds, program=WORKERS):
    """Times meta-steps, round by round.

    Args:
        implementations: dict from a label to `(steps a turn, arguments)`.
        rounds: int.
        program: path of the workers' program.

    Returns:
        Tuple: dict from label to the milliseconds a meta-step in each round, and a
        dict from the labels left out to the reason.
    """
    workers, left_out = {}, {}
    for label, (steps, arguments) in implementations.items():
        if importlib.util.find_spec(arguments[0]) is None:
            left_out[label] = f"package {arguments[0]} is not installed"
            continue
        worker = Worker(program, arguments, steps)
        reason = worker.failure()
        if reason is None:
            workers[label] = worker
        else:
            left_out[label] = reason
        print(f"  {label}: {reason or 'ready'}", flush=True)
    times = {label: [] for label in workers}
    for _ in range(rounds):
        for label, worker in workers.items():
            times[label].append(worker.turn())
    for worker in workers.values():
        worker.close()
    return times, left_out
