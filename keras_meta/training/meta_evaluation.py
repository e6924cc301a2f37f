"""Evaluation on new tasks: every metric after every inner step, with intervals."""

import keras
import numpy as np
import tensorflow as tf

from keras_meta.tasks.task import check_count
from keras_meta.training.trainer_settings import checked_task_seed

# Streams of task seeds above this one are evaluation's; training's are below.
FIRST_EVALUATION_STREAM = 2**33

# Half-width of a 95 % interval in standard errors (the normal distribution's).
Z_95 = 1.96


def evaluate_tasks(trainer, tasks, episodes, num_steps, meta_batch_size, seed, verbose):
    """Computes what `EpisodicModel.evaluate` returns; see there.

    `num_steps` is an int >= 0, the inner steps.
    """
    episodes = check_count("episodes", episodes)
    if episodes < 2:
        raise ValueError(
            "Argument `episodes` must be at least 2, to give an interval. "
            f"Received: episodes={episodes}."
        )
    batch = min(check_count("meta_batch_size", meta_batch_size), episodes)
    source = trainer.source_class(
        tasks, FIRST_EVALUATION_STREAM + checked_task_seed(seed)
    )
    with trainer.distribute_strategy.scope():
        trainer.prepare(source)
    function = trainer.history_function(source, num_steps, batch)
    progress = keras.utils.Progbar(
        episodes, verbose=0 if verbose == 0 else 1, unit_name="task"
    )
    values, done = [], 0
    for numbers, data in source.evaluation_batches(batch, episodes):
        # The last meta-batch is filled up: another size would be traced again.
        full = tf.minimum(tf.range(batch), len(numbers) - 1)
        numbers, count = tf.gather(numbers, full), len(numbers)
        data = tf.nest.map_structure(
            lambda part, rows=full: tf.gather(part, rows), data
        )
        history = function(data, source.seeds(numbers))
        values.append({name: value[:count].numpy() for name, value in history.items()})
        done += count
        progress.update(done)
    if done < episodes:
        raise ValueError(
            f"The dataset must hold at least {episodes} episodes. Received: {done}. "
            f"Call `evaluate(..., episodes={done})`."
        )
    results = {
        name: summary(np.concatenate([v[name] for v in values])) for name in values[0]
    }
    trainer.note_evaluation(
        {
            "tasks": source.describe(),
            "episodes": episodes,
            "inner_steps": num_steps,
            "seed": seed,
            "results": results,
        }
    )
    return results


def summary(values):
    """Returns the means over tasks and the half-widths of their 95 % intervals.

    Args:
        values: float array `(num_tasks, num_steps + 1)`.

    Returns:
        `{"mean": [float, ...], "ci95": [float, ...]}`, one for each step.
    """
    values = np.asarray(values, dtype="float64")
    with np.errstate(invalid="ignore"):  # A diverged task makes them NaN.
        errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return {"mean": values.mean(axis=0).tolist(), "ci95": (Z_95 * errors).tolist()}
