"""Runs that go on from meta-step to meta-step, each to its own horizon."""

import functools
import math

import keras
import numpy as np
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.long_runs.runs import Runs

HORIZON_STREAM = 5000  # of a task's seed; the problems draw from lower ones


class InnerRuns(keras.layers.Layer):
    """The state of several tasks' runs, in variables that checkpoints hold.

    A run that has reached its horizon is replaced by a new one on the next task. The
    first runs end at staggered horizons, so that a meta-batch sees runs of every age.

    With several replicas each has room for all runs and keeps its own up to date;
    `synchronise.py` brings them together before they are saved.

    Args:
        unroll: `RuleUnroll`.
        meta_gradient: object of `LONG_RUN_GRADIENTS`.
        theta: dict from name to array, for the shapes.
        num_tasks: int >= 1.
        horizon: pair of int, the least and the greatest, drawn uniformly in the
            logarithm for each run.
        truncation: int >= 1, steps of a window.
        place: pair of int, which problem distribution of how many this one is: no
            two of them share a task's seed, and they begin anew at different times.
    """

    def __init__(
        self, unroll, meta_gradient, theta, num_tasks, horizon, truncation, place=(0, 1)
    ):
        super().__init__()
        self.place = place
        self.unroll = unroll
        self.meta_gradient = meta_gradient
        self.num_tasks = num_tasks
        self.horizon = horizon
        self.truncation = truncation
        self.num_runs = num_tasks * meta_gradient.particles

        def weights(name, specs, count):
            return [
                self.add_weight(
                    name=f"{name}_{index}",
                    shape=(count, *spec.shape),
                    dtype=spec.dtype.name,
                    initializer="zeros",
                    trainable=False,
                )
                for index, spec in enumerate(specs)
            ]

        integer = tf.TensorSpec((), tf.int64)
        self.parameters = weights("parameter", unroll.parameter_specs, self.num_runs)
        self.state = weights("state", unroll.state_specs, self.num_runs)
        self.carried = weights(
            "carried", meta_gradient.carried(theta, unroll), num_tasks
        )
        # Of each task: its number, steps taken, and the step at which it ends.
        self.number, self.step, self.end = weights("place", [integer] * 3, num_tasks)
        self.built = True

    def groups(self):
        """Returns pairs `(variable, how many rows it has for a task)`."""
        by_run = {id(v) for v in (*self.parameters, *self.state)}
        particles = self.meta_gradient.particles
        return [(v, particles if id(v) in by_run else 1) for v in self.weights]

    def written(self, values, replicas=ONE):
        """Returns pairs `(variable, what to assign)`, of what `after` returned."""
        return [
            (variable, replicas.with_own(variable.value, value, groups))
            for (variable, groups), value in zip(self.groups(), values, strict=True)
        ]

    def seeds(self, stream, numbers):
        """Returns the seeds of this distribution's tasks, int64 `(num_tasks, 2)`."""
        index, count = self.place
        return tf.stack(
            [tf.fill(tf.shape(numbers), stream), numbers * count + index], axis=1
        )

    def begun(self, theta, stream, meta_step, greatest, replicas=ONE):
        """Returns the runs at the start of the next window, new ones where due.

        Args:
            theta: dict from name to tensor.
            stream: int64 scalar, the first number of the tasks' seeds.
            meta_step: int64 scalar, how many meta-steps were taken.
            greatest: int64 scalar, no run gets a longer horizon.
            replicas: `Replicas`.

        Returns:
            Tuple `(runs, data, carried, places)`: `Runs`, the problems' data, list of
            tensors, and int64 `(3, num_tasks)`: numbers, steps, ends.
        """
        number, step, end = (
            replicas.own(tf.convert_to_tensor(v.value))
            for v in (self.number, self.step, self.end)
        )
        slots = replicas.own(tf.range(self.num_tasks, dtype="int64"))
        is_first = end == 0
        due = step >= end
        # Further than any run has come before: no task is trained on twice.
        first = slots + meta_step * self.num_tasks
        following = tf.where(is_first, first, number + self.num_tasks)
        number = tf.where(due, following, number)
        seeds = self.seeds(stream, number)
        horizons = tf.vectorized_map(self._horizon, seeds)
        index, count = self.place
        share = (slots * count + index + 1) / (self.num_tasks * count)
        staggered = tf.cast(tf.cast(horizons, share.dtype) * share, "int64")
        horizons = tf.minimum(tf.where(is_first, staggered, horizons), greatest)
        windows = tf.maximum(tf.math.floordiv(horizons, self.truncation), 1)
        end = tf.where(due, windows * self.truncation, end)
        step = tf.where(due, tf.zeros_like(step), step)

        def of_runs(values):
            return tf.tile(
                values, [self.meta_gradient.particles, *[1] * (values.shape.rank - 1)]
            )

        due_runs, run_seeds = of_runs(due), of_runs(seeds)
        data, fresh = self.unroll.sampled(run_seeds)
        of_pairs = functools.partial(replicas.own, groups=self.meta_gradient.particles)
        parameters = _replaced(due_runs, fresh, self.parameters, of_pairs)
        started = self.unroll.started(theta, fresh)
        state = _replaced(due_runs, started, self.state, of_pairs)
        zeros = [tf.zeros(v.shape, v.dtype) for v in self.carried]
        fresh_carried = [replicas.own(value) for value in zeros]
        carried = _replaced(due, fresh_carried, self.carried, replicas.own)
        runs = Runs(parameters, state, of_runs(tf.cast(step, "int32")), run_seeds)
        return runs, data, carried, tf.stack([number, step, end])

    def after(self, result, places, lost):
        """Returns the values to write after a window, one for each of `weights`.

        Args:
            result: `WindowResult`.
            places: int64 `(3, num_tasks)`, as `begun` returned it.
            lost: bool `(num_tasks,)`, whether a run is to be given up.
        """
        number, step, end = tf.unstack(places)
        step = tf.where(lost, end, step + self.truncation)
        return [
            *result.runs.parameters,
            *result.runs.state,
            *result.carried,
            number,
            step,
            end,
        ]

    def _horizon(self, seed):
        low, high = (math.log(end) for end in self.horizon)
        draw = counter_random.uniform(seed, (), low, high, stream=HORIZON_STREAM)
        return tf.cast(tf.round(tf.exp(draw)), "int64")


def _replaced(due, fresh, variables, own):
    values = []
    for new, variable in zip(fresh, variables, strict=True):
        old = own(tf.convert_to_tensor(variable.value))
        chosen = tf.reshape(due, [-1, *[1] * (old.shape.rank - 1)])
        values.append(tf.where(chosen, tf.cast(new, old.dtype), old))
    return values


def curriculum_horizon(step, curriculum, truncation, greatest):
    """Returns the longest horizon at a meta-step, an int64 scalar.

    It grows from `truncation` to `greatest` by equal factors, over `curriculum`
    meta-steps (Chen et al. 2020, arXiv:2010.09089, section 3.1: from short unrolls to
    long ones).
    """
    if not curriculum:
        return tf.constant(greatest, "int64")
    share = tf.minimum(tf.cast(step, "float32") / curriculum, 1.0)
    factor = np.float32(math.log(greatest / truncation))
    return tf.cast(tf.round(truncation * tf.exp(share * factor)), "int64")
