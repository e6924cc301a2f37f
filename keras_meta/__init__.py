"""Meta-learned optimizers and initialisations for Keras.

Importing this package registers the optimizers with Keras (so that `.keras`
files that hold one can be loaded, and `compile(optimizer="meta_sgd")` works). It
does not need TensorFlow: what does is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_meta.optimizers import (
    SGD,
    LearnedOptimizer,
    LSTMOptimizer,
    MetaAdam,
    MetaLSTM,
    MetaSGD,
)
from keras_meta.presets import list_presets, load

if TYPE_CHECKING:  # `__getattr__` gives these.
    from keras_meta import learners, tasks, testing, training, tuner
    from keras_meta.training import MetaTrainer, OptimizerTrainer

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "LSTMOptimizer",
    "LearnedOptimizer",
    "MetaAdam",
    "MetaLSTM",
    "MetaSGD",
    "MetaTrainer",
    "OptimizerTrainer",
    "list_presets",
    "learners",
    "load",
    "optimizers",
    "presets",
    "tasks",
    "testing",
    "training",
    "tuner",
]

_LAZY_CLASSES = ("MetaTrainer", "OptimizerTrainer")
_LAZY_MODULES = ("learners", "tasks", "testing", "training", "tuner")


def __getattr__(name: str) -> Any:
    if name in _LAZY_CLASSES:
        return getattr(importlib.import_module("keras_meta.training"), name)
    if name in _LAZY_MODULES:
        return importlib.import_module(f"keras_meta.{name}")
    raise AttributeError(f"module 'keras_meta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
