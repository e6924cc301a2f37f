"""What a compiled meta-step computes for the next windows of long runs."""

import functools

import tensorflow as tf

from keras_meta.training.distributed.replicas import ONE
from keras_meta.training.finite_guard import first_bad_task
from keras_meta.training.long_runs.inner_runs import curriculum_horizon
from keras_meta.training.long_runs.runs import Runs
from keras_meta.training.long_runs.window import Window
from keras_meta.training.meta_step import MetaStep, TaskResults

NOISE_STREAMS = 2**41  # apart from the seeds of tasks and of batches
MAX_PROBLEMS = 2**10
# A run with larger weights, states or gradients is lost: their sums overflow.
LARGEST = 1e30


class LongRunEngine:
    """Computes meta-steps of an optimizer on one or several problem distributions.

    Args:
        unrolls: list of `RuleUnroll`, one for each problem distribution.
        theta_names: list of str.
        settings: `OptimizerTrainer`, whose settings are read.
    """

    def __init__(self, unrolls, theta_names, settings):
        self.unrolls = unrolls
        self.theta_names = theta_names
        self.settings = settings

    @property
    def is_vectorized(self):
        """bool, whether all runs are one wide computation."""
        return all(unroll.task_axis == "vectorize" for unroll in self.unrolls)

    def task_results(self, outer, episodes, seeds, step, replicas=ONE):
        """Takes the next window of each run; see `TaskEngine.task_results`.

        A run that is no longer finite has loss NaN.
        """
        settings = self.settings
        theta = dict(zip(self.theta_names, outer, strict=True))
        longest = curriculum_horizon(
            step, settings.curriculum, settings.truncation, settings.horizon[1]
        )
        values, gradients, kept, numbers = [], [], [], []
        for index, runs in enumerate(settings.all_runs()):
            begun, data, carried, places = runs.begun(
                theta, seeds[0, 0], step, longest, replicas
            )
            first = (step * MAX_PROBLEMS + index) * runs.num_tasks
            draws = replicas.own(first + tf.range(runs.num_tasks, dtype="int64"))
            noise_seeds = tf.stack(
                [tf.fill(draws.shape, seeds[0, 0] + NOISE_STREAMS), draws], axis=1
            )
            window = Window(
                runs.unroll,
                settings.objective,
                theta,
                data,
                begun,
                settings.truncation,
                carried,
                noise_seeds,
            )
            result = settings.gradient_rule.meta_gradient(window)
            of_tasks = [result.gradients[name] for name in self.theta_names]
            sound = _finite_rows([result.values, *of_tasks])
            sound &= _finite_runs(result.runs, draws.shape[0])
            values.append(tf.where(sound, result.values, float("nan")))
            gradients.append(of_tasks)
            kept += runs.after(_without(result, sound), places, ~sound)
            numbers.append(runs.seeds(seeds[0, 0], places[0])[:, 1])
        values = tf.concat(values, axis=0)
        gradients = [tf.concat(parts, axis=0) for parts in zip(*gradients, strict=True)]
        numbers = tf.concat(numbers, axis=0)
        task_seeds = tf.stack([tf.fill(tf.shape(numbers), seeds[0, 0]), numbers], 1)
        return TaskResults(values, gradients, {}, [], task_seeds, kept)

    def combined(self, results, replicas=ONE):
        """Returns the `MetaStep` of these `TaskResults`: means over sound runs."""
        values, gradients = results.losses, results.gradients
        sound = tf.math.is_finite(values)
        meta_loss, meta_gradients = _mean_of_sound(
            values, gradients, replicas, self.settings.task_clipnorm
        )
        tracked = {
            "loss": tf.where(sound, values, meta_loss),
            "dropped": 1.0 - tf.cast(sound, "float32"),
        }
        return MetaStep(
            replicas.share(meta_loss),
            meta_gradients,
            tracked,
            [],
            results.runs,
            functools.partial(first_bad_task, values, gradients, results.seeds),
        )

    def written(self, result, replicas=ONE):
        """Returns pairs `(variable, value)`: where the runs stand now."""
        pairs = []
        for runs in self.settings.all_runs():
            values = result.runs[len(pairs) : len(pairs) + len(runs.weights)]
            pairs += runs.written(values, replicas)
        return pairs

    def history(self, outer, episodes, seeds, num_steps):
        """Returns the losses of new runs, and whether they are not finite.

        Returns:
            Dict of `"loss"` and `"dropped"`, float32 `(num_tasks, num_steps + 1)`.
        """
        theta = dict(zip(self.theta_names, outer, strict=True))
        [unroll] = self.unrolls
        data, parameters = unroll.sampled(seeds)
        state = unroll.started(theta, parameters)
        steps = tf.zeros(tf.shape(seeds)[:1], "int32")
        steps = tf.ensure_shape(steps, seeds.shape[:1])
        runs = Runs(parameters, state, steps, seeds)
        losses, _ = unroll.forward(theta, data, runs, num_steps, keep=False)
        losses = tf.transpose(losses)
        return {
            "loss": losses,
            "dropped": 1.0 - tf.cast(tf.math.is_finite(losses), "float32"),
        }


def _finite_rows(tensors):
    """Returns bool `(num_tasks,)`, whether all of a task's values are sound numbers."""
    sound = True
    for tensor in tensors:
        rows = tf.reshape(tensor, (tensor.shape[0], -1))
        sound &= tf.reduce_all(tf.abs(rows) < LARGEST, axis=1)  # False for NaN.
    return sound


def _finite_runs(runs, num_tasks):
    sound = _finite_rows([*runs.parameters, *runs.state])
    return tf.reduce_all(tf.reshape(sound, (-1, num_tasks)), axis=0)


def _without(result, sound):
    """Returns the result with zeros in place of the runs that are given up."""
    count = sound.shape[0]

    def cleaned(value):
        repeats = value.shape[0] // count
        chosen = tf.reshape(
            tf.tile(sound, [repeats]), [-1, *[1] * (value.shape.rank - 1)]
        )
        return tf.where(chosen, value, tf.zeros_like(value))

    runs = result.runs
    return result._replace(
        runs=runs._replace(
            parameters=[cleaned(p) for p in runs.parameters],
            state=[cleaned(s) for s in runs.state],
        ),
        carried=[cleaned(c) for c in result.carried],
    )


def _mean_of_sound(values, gradients, replicas, clipnorm):
    """Returns the mean objective, and this replica's share of the mean gradients.

    Means of the tasks that are finite; NaN if none is, so that the meta-step is
    refused.
    """
    everywhere = replicas.all(values)
    known = tf.math.is_finite(everywhere)
    count = tf.reduce_sum(tf.cast(known, "float32"))
    mean = tf.reduce_sum(tf.where(known, everywhere, 0.0)) / count
    sound = tf.math.is_finite(values)
    cleaned = []
    for gradient in gradients:
        chosen = tf.reshape(sound, [-1, *[1] * (gradient.shape.rank - 1)])
        cleaned.append(tf.where(chosen, gradient, tf.zeros_like(gradient)))
    if clipnorm is not None:
        squares = [
            tf.reduce_sum(tf.reshape(tf.square(g), (g.shape[0], -1)), axis=1)
            for g in cleaned
        ]
        norms = tf.sqrt(tf.maximum(tf.add_n(squares), 1e-30))
        scales = tf.minimum(1.0, clipnorm / norms)
        cleaned = [
            g * tf.reshape(scales, [-1, *[1] * (g.shape.rank - 1)]) for g in cleaned
        ]
    return mean, [tf.reduce_sum(g, axis=0) / count for g in cleaned]
