"""Update rules: one rule a file, each a complete Keras optimizer."""

from keras_meta.optimizers.learned_optimizer import LearnedOptimizer
from keras_meta.optimizers.lstm_optimizer import LSTMOptimizer
from keras_meta.optimizers.meta_sgd import MetaSGD
from keras_meta.optimizers.sgd import SGD

__all__ = ["SGD", "LSTMOptimizer", "LearnedOptimizer", "MetaSGD"]
