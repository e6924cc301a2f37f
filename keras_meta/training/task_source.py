"""Where a meta-step's episodes come from: seeds, or a user's own dataset."""

import functools

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
        # Read once: a dataset that shuffles has another order each time.
        self._example = None
        if self.is_dataset:
            self.dataset = episodes_from_dataset(tasks)
            self.element_spec = self.dataset.element_spec
            self._sampling_axis = None
            return
        if not isinstance(tasks, TaskDistribution):
            raise TypeError(
                f"Argument `{argument}` must be a `keras_meta.tasks.TaskDistribution` "
                "or a `tf.data.Dataset` of episodes. "
                f"Received: {type(tasks).__name__}. Make tasks of arrays with "
                "`keras_meta.tasks.from_groups(x, y, group)`."
            )
        self.element_spec = tasks.element_spec
        self._sampling_axis = (
            "vectorize"
            if can_vectorize(self._sample, self.seeds([0, 1]), self.element_spec)
            else "sequential"
        )

    def seeds(self, numbers):
        """Returns the seeds of these tasks, int64 `(num_tasks, 2)`.

        Args:
            numbers: int64 `(num_tasks,)`, or a list of int.
        """
        numbers = tf.cast(numbers, "int64")
        stream = tf.fill(tf.shape(numbers), tf.constant(self.stream, "int64"))
        return tf.stack([stream, numbers], axis=1)

    def sample(self, seeds):
        """Returns the meta-batch of these seeds, an `Episode` with a task axis."""
        return map_tasks(self._sample, seeds, self._sampling_axis, self.element_spec)

    def example(self):
        """Returns one episode, eagerly.

        Raises:
            ValueError: if the dataset is empty.
        """
        if not self.is_dataset:
            return self._sample(self.seeds([0])[0])
        if self._example is not None:
            return self._example
        for episode in self.dataset.take(1):
            self._example = episode
            return episode
        raise ValueError(
            "The dataset of episodes must hold at least one. Received: an empty "
            "dataset."
        )

    def first(self):
        """Returns the tensors of one episode, what workers compare."""
        return tf.nest.flatten(self.example())

    @functools.cached_property
    def num_classes(self):
        """int, the classes of an episode: one more than its largest class number."""
        with tf.init_scope():
            return 1 + int(tf.reduce_max(self.example().support_y))

    def num_batches(self, meta_batch_size):
        """Returns how many full meta-batches there are; None if that is not known.

        Raises:
            ValueError: if a dataset is endless, or has fewer episodes than one batch.
        """
        if not self.is_dataset:
            return None
        episodes = int(self.dataset.cardinality())
        if episodes == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Argument `steps_per_epoch` must be given for a dataset without end. "
                "Received: steps_per_epoch=None. Pass `fit(..., steps_per_epoch=100)`."
            )
        if episodes == tf.data.UNKNOWN_CARDINALITY:
            return None
        if episodes < meta_batch_size:
            raise ValueError(
                "The dataset must hold at least one meta-batch. Received: "
                f"{episodes} episodes, meta_batch_size={meta_batch_size}. Pass "
                f"`meta_batch_size={episodes}` or less, or `.repeat()` the dataset."
            )
        return episodes // meta_batch_size

    def training_batches(self, meta_batch_size, repeat):
        """Returns the `tf.data.Dataset` to feed to Keras in training.

        Args:
            meta_batch_size: int >= 1.
            repeat: bool, whether a dataset of episodes starts again where it ends. A
                distribution has no data: its elements are empty, without end.
        """
        if not self.is_dataset:
            return tf.data.Dataset.from_tensors(tf.constant(0, "int64")).repeat()
        batches = self.dataset.batch(meta_batch_size, drop_remainder=True)
        return batches.repeat() if repeat else batches

    def evaluation_batches(self, meta_batch_size, episodes):
        """Returns a `tf.data.Dataset` of `(numbers, meta-batch)`; the last is smaller.

        Args:
            meta_batch_size: int >= 1.
            episodes: int >= 1, how many in all; a dataset may have fewer.

        Returns:
            Dataset of pairs: the tasks' numbers int64 `(num_tasks,)`, and their
            episodes, `()` for a distribution.
        """
        numbers = tf.data.Dataset.range(episodes)
        if self.is_dataset:
            pairs = tf.data.Dataset.zip((numbers, self.dataset))
            return pairs.batch(meta_batch_size)
        whole = episodes % meta_batch_size == 0
        batches = numbers.batch(meta_batch_size, drop_remainder=whole)
        return batches.map(lambda numbers: (numbers, ()))

    def episodes(self, seeds, episodes):
        """Returns the meta-batch: `episodes` of a dataset, else that of the seeds."""
        return episodes if self.is_dataset else self.sample(seeds)

    def describe(self):
        """Returns JSON-able facts for a preset's card."""
        if self.is_dataset:
            return {"class_name": "tf.data.Dataset"}
        return self.tasks.describe()

    def _sample(self, seed):
        return Episode(*self.tasks.sample(seed))
