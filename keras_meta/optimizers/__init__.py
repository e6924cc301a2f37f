"""Update rules: one rule a file, each a complete Keras optimizer."""

from keras_meta.optimizers.adam import Adam
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer
from keras_meta.optimizers.lstm_optimizer import LSTMOptimizer
from keras_meta.optimizers.meta_adam import MetaAdam
from keras_meta.optimizers.meta_lstm import MetaLSTM
from keras_meta.optimizers.meta_sgd import MetaSGD
from keras_meta.optimizers.optimizer_log import OptimizerLog
from keras_meta.optimizers.rmsprop import RMSprop
from keras_meta.optimizers.safeguard import Safeguarded
from keras_meta.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "LSTMOptimizer",
    "LearnedOptimizer",
    "MetaAdam",
    "MetaLSTM",
    "MetaSGD",
    "OptimizerLog",
    "RMSprop",
    "Safeguarded",
]
