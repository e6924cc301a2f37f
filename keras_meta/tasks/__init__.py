"""Task distributions: pure functions from a seed to an episode or a problem."""

from keras_meta.tasks.dataset_episodes import as_episode, episodes_from_dataset
from keras_meta.tasks.few_shot import FewShotClassification
from keras_meta.tasks.few_shot_regression import FewShotRegression
from keras_meta.tasks.group_tasks import GroupTasks, from_groups
from keras_meta.tasks.logistic_regression import LogisticRegression
from keras_meta.tasks.network_family import network_family, table_problems
from keras_meta.tasks.omniglot import load_omniglot
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.quadratic import Quadratic
from keras_meta.tasks.reparametrized import Reparametrized
from keras_meta.tasks.rosenbrock import Rosenbrock
from keras_meta.tasks.sinusoid import Sinusoid
from keras_meta.tasks.task import Episode, TaskDistribution
from keras_meta.tasks.training_problem import TrainingProblem

__all__ = [
    "Episode",
    "FewShotClassification",
    "FewShotRegression",
    "GroupTasks",
    "LogisticRegression",
    "OptimizationProblem",
    "Problem",
    "Quadratic",
    "Reparametrized",
    "Rosenbrock",
    "Sinusoid",
    "TaskDistribution",
    "TrainingProblem",
    "as_episode",
    "episodes_from_dataset",
    "from_groups",
    "load_omniglot",
    "network_family",
    "table_problems",
]
