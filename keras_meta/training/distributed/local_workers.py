"""Starts the workers of a `MultiWorkerMirroredStrategy` on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from keras_meta.tasks.task import check_count

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds that the others have to end by themselves when a worker has ended.
GRACE = 5.0
POLL = 0.1


def run_local_workers(
    command: Sequence[str], num_workers: int = 2, max_restarts: int = 3
) -> int:
    """Runs a program as several workers on this machine, until all have ended well.

    Each worker gets a `TF_CONFIG` of its own, on free ports of the loopback. If a
    worker is killed (by the system's out-of-memory killer, say), the others cannot go
    on without it: all are ended and started again, and the program goes on from its
    `BackupAndRestore`. A worker that ends with an error is not started again, since it
    would fail again. Ctrl-C and SIGTERM end the workers, too.

    Args:
        command: list of str, a program and its arguments, the same for all workers.
        num_workers: int >= 1. Default 2.
        max_restarts: int >= 0, how often killed workers are started again. Default 3.

    Returns:
        int, how often workers had to be started again.

    Raises:
        ValueError: for arguments out of their range.
        RuntimeError: if a worker ended with an error, or was killed too often.

    Example:

    >>> import sys
    >>> from keras_meta.training import run_local_workers
    >>> run_local_workers([sys.executable, "-c", "import os; os.environ['TF_CONFIG']"])
    0
    """
    check_count("num_workers", num_workers)
    if isinstance(max_restarts, bool) or not (
        isinstance(max_restarts, int) and max_restarts >= 0
    ):
        raise ValueError(
            "Argument `max_restarts` must be an int >= 0. "
            f"Received: max_restarts={max_restarts!r}."
        )
    for restarts in range(max_restarts + 1):
        with _sigterm_unwinds():
            was_killed, codes = _run_once(list(command), num_workers)
        if not any(codes):
            return restarts
        told = ", ".join(
            f"worker {i} {'ran on and was ended' if code is None else code}"
            for i, code in enumerate(codes)
        )
        if not was_killed:
            raise RuntimeError(
                f"A worker ended with an error. Received: exit codes: {told}. Its own "
                "message stands above."
            )
        if restarts < max_restarts:
            print(
                f"A worker was killed (exit codes: {told}); all are started again.",
                flush=True,
            )
    raise RuntimeError(
        f"Workers were killed more often than max_restarts={max_restarts} allows. "
        f"Received: exit codes: {told}. See whether the machine has enough memory for "
        f"{num_workers} workers."
    )


def _run_once(command, num_workers):
    """Returns whether the first that failed was killed, and the exit codes.

    The others fail for want of the first, in ways of their own. The code of one that
    went on, and is ended here, is None.
    """
    addresses = _free_addresses(num_workers)
    workers = []
    try:
        for index in range(num_workers):
            config = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
            workers.append(subprocess.Popen(command, env=environment))
        while all(worker.poll() in (None, 0) for worker in workers):
            if all(worker.poll() == 0 for worker in workers):
                return False, [0] * num_workers
            time.sleep(POLL)
        first = [worker.returncode for worker in workers]
        was_killed = any(_was_killed(code) for code in first if code is not None)
        deadline = time.monotonic() + GRACE
        while None in [worker.poll() for worker in workers]:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL)
        return was_killed, [worker.poll() for worker in workers]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


def _was_killed(code):
    """Whether a process with this exit code was killed; a shell says 128 + signal.

    One that was interrupted was asked to end.
    """
    number = -code if code < 0 else code - 128
    return number in signal.valid_signals() and number != signal.SIGINT


@contextlib.contextmanager
def _sigterm_unwinds():
    """Makes SIGTERM, within, an exception, so that what was begun is ended first.

    It would end this process at once, and leave its workers. A handler of the user's
    stays; only the main thread can set one.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [f"localhost:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
