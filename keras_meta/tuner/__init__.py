"""Hyperparameter search that starts from past searches.

Importing this package imports neither KerasTuner nor TensorFlow: what needs them
is imported on first use.
"""

import importlib

from keras_meta.tuner.experience_pool import ExperiencePool

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


def __getattr__(name):
    if name in _LAZY:
        module = importlib.import_module(f"keras_meta.tuner.{_LAZY[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'keras_meta.tuner' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
