"""Notices when code of a file is run, or when something is written or fetched."""

import contextlib
import os
import sys

# Python tells of these before it does them.
FORBIDDEN = frozenset(
    "function.__new__ os.exec os.fork os.posix_spawn os.startfile os.system "
    "pickle.find_class shutil.rmtree socket.connect subprocess.Popen urllib.Request "
    "os.remove os.rename os.symlink os.link".split()
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_watched = []  # A list of events for each `nothing_executed()` that is open.


@contextlib.contextmanager
def nothing_executed(writes=False):
    """Raises AssertionError if a program was run or a file written within.

    Args:
        writes: bool, whether files may be written.
    """
    _install()
    events = []
    _watched.append((events, writes))
    try:
        yield
    finally:
        _watched.pop()
    assert not events, events[:3]


def _install():
    # A hook cannot be taken away again: one is enough.
    if not hasattr(sys, "_drills_hook"):
        sys._drills_hook = True
        sys.addaudithook(_hook)


def _hook(event, arguments):
    if not _watched:
        return
    events, writes = _watched[-1]
    if event in FORBIDDEN or (
        event == "open" and not writes and (arguments[2] or 0) & WRITING
    ):
        events.append((event, arguments))
