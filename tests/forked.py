"""Processes of the tests' own that do not each import TensorFlow.

A server imports what they all need, runs nothing of it, and is forked for each.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.forked_imports"])


class Forked:
    """A process that runs a function; of `subprocess.Popen` what the tests call.

    Args:
        function: function of a module that the process can import.
        *arguments: its arguments, which can be pickled.
        **environment: str, what the process' environment has besides this one's.
    """

    def __init__(self, function, *arguments, **environment):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            self._output = Path(file.name)
        variables = {**os.environ, **environment}
        self._process = _CONTEXT.Process(
            target=_run, args=(str(self._output), variables, function, arguments)
        )
        # The server starts with the first process; Python 3.11 does not tell it the
        # path.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
            self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """Waits for the end; returns what it printed, both streams, and None."""
        self.wait(timeout)
        text = self._output.read_text(encoding="utf-8") if self._output.exists() else ""
        self._output.unlink(missing_ok=True)
        return text, None


def forked(function, *arguments, timeout=300, **environment):
    """Runs a function to its end; returns its exit status and what it printed."""
    process = Forked(function, *arguments, **environment)
    try:
        output, _ = process.communicate(timeout)
    finally:
        if process.poll() is None:
            process.kill()
    return process.returncode, output


def _run(output, variables, function, arguments):
    os.environ.clear()
    os.environ.update(variables)
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    function(*arguments)
