"""What drills are made of: a count of outcomes, and what makes an error a clear one."""

import collections
import contextlib
import dataclasses
import resource

MAX_MESSAGE = 2_000  # Characters.


@dataclasses.dataclass
class Drill:
    """Counts how often a fault was caused, and what came of it.

    Attributes:
        fault: str, what was done, and to what.
        outcomes: counter of str.
    """

    fault: str
    outcomes: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )

    @property
    def count(self):
        """int, how often the fault was caused."""
        return self.outcomes.total()

    def record(self, outcome):
        """Counts one more outcome of this kind."""
        self.outcomes[outcome] += 1


def check_clear(error, name, kinds):
    """Raises AssertionError unless an error is of a documented kind and helps.

    Args:
        error: exception.
        name: str, the file's name, that the message must hold.
        kinds: tuple of exception types, themselves and not those above them.
    """
    text = str(error)
    if type(error) not in kinds:
        raise AssertionError(f"{type(error).__name__} is no clear error: {text}")
    assert name in text, text
    assert len(text) <= MAX_MESSAGE, f"{len(text)} characters: {text[:500]}"


@contextlib.contextmanager
def bounded_memory(mebibytes):
    """Lets this process take no more than so much memory on top of what it has."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + mebibytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
