"""The data of `wisdm.py`: smart-watch windows, a new user, and training tasks."""

import numpy as np
import tensorflow as tf
from personalisation_table import data_file

from keras_meta.tasks import Episode, TaskDistribution, counter_random
from keras_meta.tasks.row_table import RowTable

FILE = "wisdm_watch_features.npz"
SHOTS = 5


def load_windows():
    """Returns x float32 `(n, 52)`, user `(n,)`, activity `(n,)`, turn `(n,)`.

    Windows are in order of time; `turn` counts those of a user and activity from 0.
    """
    with np.load(data_file(FILE), allow_pickle=False) as data:
        x, user, activity = data["x"], data["user"], data["activity"]
    x[:, :30] = np.sqrt(x[:, :30])  # shares of a histogram
    x[:, 33:36] = np.log1p(x[:, 33:36])  # times between peaks
    turn = np.zeros(len(x), "int32")
    for pair in np.unique(np.stack([user, activity]), axis=1).T:
        rows = np.flatnonzero((user == pair[0]) & (activity == pair[1]))
        turn[rows] = np.arange(len(rows))
    return x, user.astype("int32"), activity.astype("int32"), turn


def standardized(x, training):
    """Returns x with mean 0 and variance 1 over the training rows, within 5."""
    mean, deviation = x[training].mean(axis=0), x[training].std(axis=0)
    return np.clip((x - mean) / (deviation + 1e-6), -5.0, 5.0).astype("float32")


def user_episode(windows, who):
    """Returns a user's first windows of each activity, and all the later ones."""
    x, user, activity, turn = windows
    support = (user == who) & (turn < SHOTS)
    query = (user == who) & (turn >= SHOTS)
    parts = (x[support], activity[support], x[query], activity[query])
    return Episode(*(tf.constant(part) for part in parts))


class TrainingUsers(TaskDistribution):
    """Five windows in a row of each activity, to tell later windows apart.

    In a part `mixed` of the episodes each activity is drawn from a user of its own:
    a user that never was, whom the network cannot know by heart. An activity that a
    user lacks is always drawn from another one.

    Args:
        x: float32 array `(n, features)`, in order of time.
        user: int array `(n,)`.
        activity: int array `(n,)`, from 0.
        queries: int >= 1, later windows of each activity.
        mixed: float in [0, 1].
    """

    def __init__(self, x, user, activity, queries=4, mixed=0.5):
        self.queries, self.mixed = queries, mixed
        users = np.unique(user)
        self.num_users, self.num_activities = len(users), activity.max() + 1
        pairs = user.astype("int64") * self.num_activities + activity
        present, codes = np.unique(pairs, return_inverse=True)
        self._table = RowTable(codes, len(present))
        groups = np.zeros((self.num_users, self.num_activities), "int64")
        for place in np.ndindex(groups.shape):
            others = np.roll(users, -place[0]) * self.num_activities + place[1]
            group = next(pair for pair in others if pair in present)
            groups[place] = np.searchsorted(present, group)
        with tf.init_scope():
            self._x, self._groups = tf.constant(x), tf.constant(groups.ravel())

    def sample(self, seed):
        """Returns the episode that belongs to `seed`."""
        activities = np.arange(self.num_activities)
        one = counter_random.integers(seed, (1,), self.num_users, stream=0)
        each = counter_random.integers(seed, activities.shape, self.num_users, stream=1)
        mixed = counter_random.uniform(seed, (1,), stream=2) < self.mixed
        users = tf.where(mixed, each, one)  # (activities,)
        groups = tf.gather(self._groups, users * self.num_activities + activities)
        sizes = tf.gather(self._table.sizes, groups)
        draws = counter_random.bits(seed, activities.shape, stream=3)
        starts = counter_random.integers_from_bits(
            draws, sizes - SHOTS - self.queries + 1
        )
        keys = counter_random.bits(
            seed, (self.num_activities, self._table.max_size), stream=4
        )
        later = counter_random.choose_from_bits(
            keys, self.queries, sizes=sizes - starts - SHOTS
        )
        starts = starts[:, tf.newaxis]
        turns = tf.concat([starts + np.arange(SHOTS), starts + SHOTS + later], axis=1)
        x = tf.gather(self._x, self._table.rows(groups, turns))
        support, query = tf.split(x, [SHOTS, self.queries], axis=1)
        labels = activities.astype("int32")
        return Episode(
            tf.reshape(support, (-1, x.shape[-1])),
            tf.constant(np.repeat(labels, SHOTS)),
            tf.reshape(query, (-1, x.shape[-1])),
            tf.constant(np.repeat(labels, self.queries)),
        )
