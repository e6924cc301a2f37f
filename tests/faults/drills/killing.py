"""Forks processes that do work, and kills them at moments drawn at random."""

import os
import random
import signal
import time
import traceback

PATIENCE = 120.0  # Seconds for work that is not disturbed.


def run_forked(work, begun=None):
    """Runs a function in a forked process; returns the seconds that it took.

    Args:
        work: function without arguments.
        begun: function that tells whether what counts has begun. Default: at once.
    """
    process = _forked(work)
    status = _wait(process, begun)
    begin = time.monotonic()
    if status is None:
        _, status = os.waitpid(process, 0)
    assert status == 0, f"The work failed with status {status}."
    return time.monotonic() - begin


def killed_at(work, seconds, begun=None):
    """Runs a function in a forked process and kills it after so many seconds.

    Args:
        work: function without arguments.
        seconds: float, from when it has begun.
        begun: as for `run_forked()`.

    Returns:
        bool, whether it was killed before it had ended.
    """
    process = _forked(work)
    status = _wait(process, begun)
    if status is None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    assert status in (0, signal.SIGKILL), f"The work failed with status {status}."
    return status == signal.SIGKILL


def _wait(process, begun):
    """Waits until work has begun; returns the status of a process that ended before."""
    while begun is not None and not begun():
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)
    return None


def moments(duration, count, seed):
    """Draws moments of kills over the duration of an undisturbed run.

    Args:
        duration: float, seconds.
        count: int.
        seed: int.

    Returns:
        list of floats, one in each of `count` equal parts of the duration.
    """
    drawn = random.Random(seed)
    return [duration * (index + drawn.random()) / count for index in range(count)]


def _forked(work):
    process = os.fork()
    if process:
        return process
    # Nothing of what the parent would do at its end may run here.
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
