"""Conformance suites that users can run on their own classes."""

from typing import TYPE_CHECKING, Any

from keras_meta.testing.check_optimizer import (
    available_checks,
    check_distributed,
    check_optimizer,
)
from keras_meta.testing.check_tasks import check_tasks

if TYPE_CHECKING:  # `__getattr__` gives it.
    from keras_meta.testing.oracle_checks import check_oracle

__all__ = [
    "available_checks",
    "check_distributed",
    "check_optimizer",
    "check_oracle",
    "check_tasks",
]


def __getattr__(name: str) -> Any:
    # Lazily: the other suites do not need KerasTuner.
    if name == "check_oracle":
        from keras_meta.testing.oracle_checks import check_oracle

        return check_oracle
    raise AttributeError(f"module 'keras_meta.testing' has no attribute {name!r}")
