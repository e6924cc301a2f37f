"""What replicas tell each other outside of a meta-step."""

import warnings

import tensorflow as tf

from keras_meta.training.distributed.fit_checks import has_several_workers
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


def run_on_each(trainer, function):
    """Runs a function without arguments, for its effects, on each of several replicas.

    It sends no message where the function does not: one worker can call it alone.
    """
    strategy = trainer.distribute_strategy

    def on_all():
        strategy.run(function)

    if trainer.run_eagerly:
        on_all()
    else:  # TensorFlow warns of what is run eagerly.
        _traced(on_all)()


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
    groups = _groups_of_runs(trainer)
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

    exchange_of_all = _traced(lambda: strategy.run(exchange))

    def gather():
        exchange_of_all()
        trainer.runs_are_apart = False

    return gather


def gather_runs_for_saving(trainer):
    """Gives every replica all long runs, where their last meta-step did not.

    Warns where they are in several processes: one that saves cannot wait for others,
    which may not.
    """
    if not (trainer.runs_are_apart and is_shared(trainer) and _groups_of_runs(trainer)):
        return
    if has_several_workers(trainer.distribute_strategy):
        warnings.warn(
            "The long runs of the other workers are saved as they were at the start of "
            f"the epoch that meta-step {trainer.meta_steps_taken} is of: a run that "
            "goes on from this file ends elsewhere. What was learned is saved as it "
            "is. Save at the end of an epoch, or with a Keras callback that has "
            "`save_freq`.",
            stacklevel=4,
        )
        return
    gathering_of_runs(trainer)()


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


def _groups_of_runs(trainer):
    return [pair for runs in trainer.all_runs() for pair in runs.groups()]


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
