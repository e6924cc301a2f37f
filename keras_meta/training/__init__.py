"""Meta-training: inner loops, meta-gradients and the trainer around them."""

from keras_meta.training.meta_trainer import MetaTrainer

__all__ = ["MetaTrainer"]
