"""Conformance suites that users can run on their own classes."""

from keras_meta.testing.check_optimizer import (
    available_checks,
    check_distributed,
    check_optimizer,
)
from keras_meta.testing.check_tasks import check_tasks

__all__ = ["available_checks", "check_distributed", "check_optimizer", "check_tasks"]
