"""How a dataset of meta-batches reaches several replicas."""

import tensorflow as tf


def for_every_replica(strategy, batches, repeat):
    """Returns a dataset that gives each replica every whole meta-batch.

    A replica then takes its share of the tasks, as it does of tasks drawn from seeds.
    Each worker reads all the data, in the same order if the dataset's own is fixed;
    `tf.distribute` would deal it out in another order for each number of workers.

    Args:
        strategy: `tf.distribute.Strategy`.
        batches: `tf.data.Dataset` of meta-batches.
        repeat: bool, whether it starts again where it ends.

    Returns:
        `tf.distribute.DistributedDataset`.
    """
    local = len(strategy.extended.worker_devices)
    spec = batches.element_spec

    def copies(*parts):
        batch = tf.nest.pack_sequence_as(spec, tf.nest.flatten(parts))
        return tf.data.Dataset.from_tensors(batch).repeat(local)

    batches = batches.flat_map(copies)
    if repeat:
        batches = batches.repeat()
    return strategy.distribute_datasets_from_function(lambda context: batches)
