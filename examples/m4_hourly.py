"""A forecaster for each series: three weeks of history, then the next 48 hours.

Needs `m4_hourly.npz` (hourly series of the M4 competition) in the folder that the
environment variable KERAS_META_DATA names. A task is a series. Its support set is
windows of its last 504 hours (168 hours in, 48 hours out), its query the 48 hours
after them, all scaled by the mean and standard deviation of the 504 hours. Training
series are others than test series, and show only what came before the competition.
The meta-learner starts from the pooled model; MAML or Meta-SGD and the steps are
chosen on validation series. The others get the best of a grid on the test series;
with that, the fine-tuned pooled model is as good, within the intervals.
"""

import keras
import numpy as np
import tensorflow as tf
from personalisation import all_scores, get_weights, meta_trained
from personalisation_table import compare, data_file, finish, parsed_arguments

import keras_meta
from keras_meta.tasks import Episode, counter_random

PAST, FUTURE, HISTORY = 168, 48, 504  # Hours.
SPAN = HISTORY + FUTURE
ADAM_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
STEPS = (0, 1, 5, 10, 20, 50, 100, 200)
STARTS = np.append(np.arange(0, HISTORY - PAST - FUTURE + 1, 12), HISTORY - PAST)
WINDOWS = STARTS[:, np.newaxis] + np.arange(PAST + FUTURE)
LOSS = keras.losses.Huber(delta=0.3)


class Histories(keras_meta.tasks.TaskDistribution):
    """504 hours and the 48 after them, anywhere in a list of arrays `(hours,)`."""

    def __init__(self, series):
        self._values = tf.constant(np.concatenate(series))
        sizes = [len(values) for values in series]
        self._ends = tf.constant(np.cumsum(sizes), tf.int64)
        self._places = tf.constant(sizes, tf.int64) - SPAN + 1

    def sample(self, seed):
        one = counter_random.integers(seed, (), len(self._places), stream=0)
        back = counter_random.integers(seed, (), tf.gather(self._places, one), stream=1)
        start = tf.gather(self._ends, one) - SPAN - back
        return episode(tf.gather(self._values, start + np.arange(SPAN)))


def episode(values):
    """Returns the `Episode` of float32 `(552,)`: 25 support windows and a query."""
    known = values[:HISTORY]
    scaled = (values - tf.reduce_mean(known)) / (tf.math.reduce_std(known) + 1e-6)
    windows = tf.gather(scaled, WINDOWS)  # (26, 216)
    x, y = windows[:, :PAST], windows[:, PAST:]
    return Episode(x[:-1], y[:-1], x[-1:], y[-1:])


def network():
    inputs = keras.Input((PAST,))
    hidden = keras.layers.Dense(128, "relu")(inputs)
    hidden = keras.layers.Dense(128, "relu")(hidden)
    features = keras.layers.Concatenate()([hidden, inputs])
    return keras.Model(inputs, keras.layers.Dense(FUTURE)(features))


def mase_factor(values):
    """Returns history's deviation over the mean error of "as 24 hours ago"."""
    known = values[:-FUTURE]
    return np.std(known[-HISTORY:]) / np.mean(np.abs(known[24:] - known[:-24]))


def error(y, guess):
    return tf.reduce_mean(tf.abs(y - guess))


def main():
    arguments = parsed_arguments(__doc__.splitlines()[0])
    num_test, num_valid = (4, 4) if arguments.quick else (60, 40)
    num_pooled, meta_steps = (40, 2) if arguments.quick else (3000, 600)
    data = np.load(data_file("m4_hourly.npz"))
    keras.utils.set_random_seed(0)
    lengths = data["train_length"].astype(int)
    order = np.random.default_rng(0).permutation(len(lengths))
    test, valid, training = np.split(order, [num_test, num_test + num_valid])
    series = [data["y"][i, : n + FUTURE] for i, n in enumerate(lengths)]
    tasks = Histories([series[i][:-FUTURE] for i in training])
    episodes = [[episode(series[i][-SPAN:]) for i in part] for part in (valid, test)]
    factors = [[mase_factor(series[i]) for i in part] for part in (valid, test)]
    model = network()
    fresh = [get_weights(network()) for _ in test]
    seeds = tf.constant([[1, seed] for seed in range(num_pooled)], tf.int64)
    drawn = tf.vectorized_map(tasks.sample, seeds)
    x = np.concatenate([drawn.support_x, drawn.query_x], axis=1).reshape(-1, PAST)
    y = np.concatenate([drawn.support_y, drawn.query_y], axis=1).reshape(-1, FUTURE)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 5 * len(x) // 256)
    model.compile(keras.optimizers.Adam(rate), LOSS)
    model.fit(x, y, batch_size=256, epochs=5, verbose=0)
    pooled = get_weights(model)
    learned = meta_trained(model, pooled, 0.06, tasks, LOSS, 10, meta_steps)
    scores = all_scores(
        model, learned, pooled, fresh, episodes, LOSS, error, STEPS, ADAM_RATES
    )
    naive = [error(e.query_y[0], tf.tile(e.query_x[0, -24:], [2])) for e in episodes[1]]
    tables = []
    for title, weights in (
        ("MAE in standard deviations of the history", (1.0, 1.0)),
        ("MASE", [np.array(part)[:, np.newaxis] for part in factors]),
    ):
        weighted = {
            method: {k: v * weights[method != "validation"] for k, v in table.items()}
            for method, table in scores.items()
        }
        references = {
            "pooled": weighted["pooled, fine-tuned"]["Adam 0.001"][:, 0],
            "as 24 hours ago": np.array(naive) * np.ravel(weights[1]),
        }
        tables.append(compare(title, weighted, references, STEPS, min))
    finish(arguments, tables)


if __name__ == "__main__":
    main()
