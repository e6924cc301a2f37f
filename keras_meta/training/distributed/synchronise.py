"""What replicas tell each other outside of a meta-step."""

import tensorflow as tf

from keras_meta.training.distributed.replicas import Replicas
from keras_meta.training.distributed.shared_step import write_where


def is_shared(trainer):
    """Whether the trainer was made in the scope of several replicas."""
    return trainer.distribute_strategy.num_replicas_in_sync > 1


def rows_of_all(strategy, row):
    """Returns what a function gives on each replica, a NumPy array `(count, ...)`.

    Every worker must call it at the same point.

    Args:
        strategy: `tf.distribute.Strategy` with several replicas.
        row: function without arguments that returns a tensor, run on each replica.
    """
    replicas = Replicas(strategy.num_replicas_in_sync)

    def exchange():
        rows = strategy.run(lambda: replicas.all(tf.convert_to_tensor(row())[None]))
        return strategy.experimental_local_results(rows)[0]

    return _traced(exchange)().numpy()


def any_of_all(strategy):
    """Returns a function of a bool, whether it is true on any worker.

    Every worker must call both at the same point.

    Args:
        strategy: `tf.distribute.Strategy` with several workers.
    """
    replicas = Replicas(strategy.num_replicas_in_sync)

    def exchange(flag):
        [total] = strategy.run(lambda: replicas.sum([flag]))
        return strategy.experimental_local_results(total)[0]

    spec = tf.TensorSpec((), tf.float32)
    exchange = tf.function(exchange, autograph=False).get_concrete_function(spec)
    return lambda flag: float(exchange(tf.constant(flag, "float32"))) > 0.0


def gathering_of_runs(trainer):
    """Returns a function that gives every replica all long runs, for a checkpoint.

    Each replica keeps only its own up to date, for their weights and states would be
    the largest message of all.
    """
    groups = [pair for runs in trainer.all_runs() for pair in runs.groups()]
    if not is_shared(trainer) or not groups:
        return _nothing
    strategy = trainer.distribute_strategy
    replicas = Replicas(strategy.num_replicas_in_sync)

    def exchange():
        values = [tf.convert_to_tensor(variable.value) for variable, _ in groups]
        own = [
            replicas.with_own(tf.zeros_like(value), replicas.own(value, rows), rows)
            for value, (_, rows) in zip(values, groups, strict=True)
        ]
        _write_sums(strategy, replicas, [variable for variable, _ in groups], own)

    return _traced(lambda: strategy.run(exchange))


def copy_from_chief(trainer):
    """Gives every replica the first one's variables, such as a restored backup."""
    if not is_shared(trainer):
        return
    strategy = trainer.distribute_strategy
    replicas = Replicas(strategy.num_replicas_in_sync)
    variables = list(
        {
            id(variable): variable
            for variable in [*trainer.weights, *trainer.optimizer.variables]
        }.values()
    )

    def exchange():
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        values = [tf.convert_to_tensor(variable.value) for variable in variables]
        told = [tf.where(tf.equal(place, 0), v, tf.zeros_like(v)) for v in values]
        _write_sums(strategy, replicas, variables, told)

    _traced(lambda: strategy.run(exchange))()


def _traced(function):
    """Returns the graph of a function without arguments."""
    # Concrete: of many functions, one for each `fit`, TensorFlow warns as of retraces.
    return tf.function(function, autograph=False).get_concrete_function()


def _write_sums(strategy, replicas, variables, values):
    # Messages are of floats and signed integers; seeds are unsigned.
    wide = [v if v.dtype.is_floating else tf.cast(v, "int64") for v in values]
    sums = replicas.sum(wide)
    write_where(strategy, [(v, s, True) for v, s in zip(variables, sums, strict=True)])


def _nothing():
    pass
