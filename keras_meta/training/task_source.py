"""Where a meta-step's episodes come from: seeds, or a user's own dataset."""

import tensorflow as tf

from keras_meta.tasks.dataset_episodes import episodes_from_dataset
from keras_meta.tasks.task import Episode, TaskDistribution
from keras_meta.training.task_axis import can_vectorize, map_tasks


class TaskSource:
    """Gives meta-batches of episodes, whichever way the user holds the tasks.

    Args:
        tasks: `TaskDistribution`, or `tf.data.Dataset` of single episodes.
        stream: int; the first of the two numbers of every task seed.
        argument: str, the caller's name for `tasks`, for messages.

    Raises:
        TypeError: if `tasks` is neither.
        ValueError: if the dataset's elements are not episodes.
    """

    def __init__(self, tasks, stream, argument="tasks"):
        self.tasks = tasks
        self.stream = stream
        self.is_dataset = isinstance(tasks, tf.data.Dataset)
        if self.is_dataset:
            self.dataset = episodes_from_dataset(tasks)
            self.element_spec = self.dataset.element_spec
            self._sampling_axis = None
            return
        if not isinstance(tasks, TaskDistribution):
            raise TypeError(
                f"Argument `{argument}` must be a `keras_meta.tasks.TaskDistribution` "
                "or a `tf.data.Dataset` of episodes. "
                f"Received: {type(tasks).__name__}."
            )
        self.element_spec = tasks.element_spec
        self._sampling_axis = (
            "vectorize"
            if can_vectorize(self._sample, self.seeds(0, 2), self.element_spec)
            else "sequential"
        )

    def seeds(self, first, count):
        """Returns the seeds of tasks `first`, ..., int64 `(count, 2)`."""
        indices = tf.cast(first, "int64") + tf.range(count, dtype="int64")
        return tf.stack([tf.fill([count], tf.cast(self.stream, "int64")), indices], 1)

    def sample(self, seeds):
        """Returns the meta-batch of these seeds, an `Episode` with a task axis."""
        return map_tasks(self._sample, seeds, self._sampling_axis, self.element_spec)

    def example(self):
        """Returns one episode, eagerly.

        Raises:
            ValueError: if the dataset is empty.
        """
        if not self.is_dataset:
            return self.tasks.sample(self.seeds(0, 1)[0])
        for episode in self.dataset.take(1):
            return episode
        raise ValueError(
            "The dataset of episodes must hold at least one. Received: an empty "
            "dataset."
        )

    def batches(self, meta_batch_size, num_batches=None):
        """Returns the `tf.data.Dataset` to feed to Keras.

        A dataset of episodes is batched. For a distribution, elements are only the
        numbers of the batches, endless if `num_batches` is None.
        """
        if self.is_dataset:
            return self.dataset.batch(meta_batch_size, drop_remainder=True)
        if num_batches is None:
            return tf.data.Dataset.from_tensors(tf.constant(0, "int64")).repeat()
        return tf.data.Dataset.range(num_batches)

    def describe(self):
        """Returns JSON-able facts for a preset's card."""
        if self.is_dataset:
            return {"class_name": "tf.data.Dataset"}
        return self.tasks.describe()

    def _sample(self, seed):
        return Episode(*self.tasks.sample(seed))
