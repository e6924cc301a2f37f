"""Hyperparameter search that starts from past searches.

Importing this package imports neither KerasTuner nor TensorFlow: what needs them
is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_meta.tuner.experience_pool import ExperiencePool

if TYPE_CHECKING:  # `__getattr__` gives these.
    from keras_meta.tuner.dataset_features import describe_dataset
    from keras_meta.tuner.hyperparameter_importance import importance
    from keras_meta.tuner.meta_oracle import MetaOracle
    from keras_meta.tuner.meta_tuner import MetaTuner

__all__ = [
    "ExperiencePool",
    "MetaOracle",
    "MetaTuner",
    "describe_dataset",
    "importance",
]

_LAZY = {
    "MetaOracle": "meta_oracle",
    "MetaTuner": "meta_tuner",
    "describe_dataset": "dataset_features",
    "importance": "hyperparameter_importance",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module = importlib.import_module(f"keras_meta.tuner.{_LAZY[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'keras_meta.tuner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
