"""Validation at the end of an epoch, each replica on its share of the tasks."""

import tensorflow as tf

from keras_meta.training.distributed.replicas import Replicas


def validation_logs(trainer, callbacks):
    """Returns the means over the validation tasks, a dict from name to float.

    Args:
        trainer: `EpisodicModel` in `fit`, in the scope of several replicas.
        callbacks: `keras.callbacks.CallbackList` of that `fit`.
    """
    source, batch = trainer.validation_source, trainer.meta_batch_size
    totals, logs, done = {}, {}, 0
    callbacks.on_test_begin()
    batches = source.evaluation_batches(batch, trainer.validation_episodes)
    for index, (numbers, data) in enumerate(batches):
        callbacks.on_test_batch_begin(index)
        count = int(tf.shape(numbers)[0])
        # The last meta-batch is filled up: every replica has a share of it.
        full = tf.minimum(tf.range(batch), count - 1)
        numbers, data = tf.nest.map_structure(
            lambda part, rows=full: tf.gather(part, rows), (numbers, data)
        )
        for name, values in trainer.test_function(numbers, data).items():
            total = tf.reduce_sum(values[:count])
            totals[name] = totals.get(name, 0.0) + float(total)
        done += count
        logs = {name: total / done for name, total in totals.items()}
        callbacks.on_test_batch_end(index, logs)
    callbacks.on_test_end(logs)
    return logs


def make_test_function(trainer):
    """Returns a function of tasks' numbers and episodes to what each task gives.

    Args:
        trainer: `EpisodicStep` with its validation source.

    Returns:
        Function to a dict from name to float32 `(meta_batch_size,)`.
    """
    strategy, source = trainer.distribute_strategy, trainer.validation_source
    replicas = Replicas(strategy.num_replicas_in_sync)

    def of_replica(numbers, data):
        numbers, data = tf.nest.map_structure(replicas.own, (numbers, data))
        values = trainer.validated(source, numbers, data)
        return {name: replicas.all(value) for name, value in values.items()}

    def of_all(numbers, data):
        values = strategy.run(of_replica, args=(numbers, data))
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in values.items()
        }

    return of_all if trainer.run_eagerly else tf.function(of_all, autograph=False)
