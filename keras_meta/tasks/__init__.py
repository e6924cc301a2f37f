"""Task distributions: pure functions from a seed to an episode."""

from keras_meta.tasks.dataset_episodes import as_episode, episodes_from_dataset
from keras_meta.tasks.few_shot import FewShotClassification
from keras_meta.tasks.few_shot_regression import FewShotRegression
from keras_meta.tasks.group_tasks import GroupTasks, from_groups
from keras_meta.tasks.omniglot import load_omniglot
from keras_meta.tasks.sinusoid import Sinusoid
from keras_meta.tasks.task import Episode, TaskDistribution

__all__ = [
    "Episode",
    "FewShotClassification",
    "FewShotRegression",
    "GroupTasks",
    "Sinusoid",
    "TaskDistribution",
    "as_episode",
    "episodes_from_dataset",
    "from_groups",
    "load_omniglot",
]
