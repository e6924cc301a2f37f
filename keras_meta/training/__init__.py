"""Meta-training: inner loops, meta-gradients and the trainer around them."""

from keras_meta.training.cvar import CVaR
from keras_meta.training.huber import Huber
from keras_meta.training.median import Median
from keras_meta.training.meta_trainer import MetaTrainer
from keras_meta.training.trimmed_mean import TrimmedMean

__all__ = ["CVaR", "Huber", "Median", "MetaTrainer", "TrimmedMean"]
