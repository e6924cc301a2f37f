"""Meta-training: inner loops, meta-gradients and the trainers around them."""

from keras_meta.training.cvar import CVaR
from keras_meta.training.distributed.local_workers import run_local_workers
from keras_meta.training.huber import Huber
from keras_meta.training.long_runs import ES, PES, Truncated
from keras_meta.training.median import Median
from keras_meta.training.meta_trainer import MetaTrainer
from keras_meta.training.optimizer_report import report_optimizer
from keras_meta.training.optimizer_trainer import OptimizerTrainer
from keras_meta.training.trimmed_mean import TrimmedMean

__all__ = [
    "ES",
    "PES",
    "CVaR",
    "Huber",
    "Median",
    "MetaTrainer",
    "OptimizerTrainer",
    "TrimmedMean",
    "Truncated",
    "report_optimizer",
    "run_local_workers",
]
