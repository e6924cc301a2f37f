"""Conformance suites that users can run on their own classes."""

from keras_meta.testing.check_optimizer import (
    available_checks,
    check_distributed,
    check_optimizer,
)
from keras_meta.testing.check_tasks import check_tasks

__all__ = [
    "available_checks",
    "check_distributed",
    "check_optimizer",
    "check_oracle",
    "check_tasks",
]


def __getattr__(name):
    # Lazily: the other suites do not need KerasTuner.
    if name == "check_oracle":
        from keras_meta.testing.oracle_checks import check_oracle

        return check_oracle
    raise AttributeError(f"module 'keras_meta.testing' has no attribute {name!r}")
