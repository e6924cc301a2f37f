"""One meta-step that several replicas take together, each on its share of the tasks."""

import contextlib

import keras
import tensorflow as tf

from keras_meta.training.distributed.replicas import Replicas
from keras_meta.training.finite_guard import all_finite


def make_train_function(trainer):
    """Returns the function of Keras' iterator that takes meta-steps.

    Args:
        trainer: `EpisodicStep` with its source and settings, made in the scope of a
            strategy with several replicas.
    """
    strategy = trainer.distribute_strategy
    from_dataset = trainer.train_source.is_dataset

    def shared_step(data):
        with _sums_ready(trainer.optimizer):
            strategy.run(_step_of_replica, args=(trainer, data))

    def steps(iterator):
        def body(index):
            shared_step(iterator.get_next() if from_dataset else ())
            return (index + 1,)

        tf.while_loop(
            lambda index: trainer.non_finite[0] < 0,
            body,
            (tf.constant(0),),
            maximum_iterations=trainer.steps_per_execution,
            parallel_iterations=1,
        )
        # Every replica tracks all tasks: none needs the others to know the means.
        logs = strategy.run(trainer.get_metrics_result)
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in logs.items()
        }

    if trainer.run_eagerly:
        return steps
    if from_dataset:
        return tf.function(steps, autograph=False, reduce_retracing=True)
    compiled = tf.function(lambda: steps(None), autograph=False)
    return lambda iterator: compiled()


def _step_of_replica(trainer, data):
    """Takes a meta-step; every replica calls it at once, and changes itself alike."""
    replicas = Replicas(trainer.distribute_strategy.num_replicas_in_sync)
    outer = trainer.outer_tensors()

    def of_tasks():
        return trainer.task_results(outer, data, replicas)

    if trainer.jit_compile and not trainer.run_eagerly:
        # Messages between replicas cannot be compiled; what each computes can.
        of_tasks = tf.function(of_tasks, jit_compile=True, autograph=False)
    engine = trainer.engine_of_training()
    share = engine.combined(of_tasks(), replicas)
    own = [share.meta_loss, *share.gradients, *share.statistics]
    sound = all_finite([*own, *share.runs])
    bad_task = tf.cond(sound, lambda: tf.constant(-1, "int64"), share.bad_task)
    unsound, own, tracked = _summed(
        replicas,
        tf.cast(~sound, "float32"),
        own,
        {name: replicas.padded(values) for name, values in share.tracked.items()},
    )
    count = len(share.gradients)
    meta_loss, gradients, statistics = own[0], own[1 : count + 1], own[count + 1 :]
    finite = (unsound == 0.0) & all_finite(own)
    trainer.track(tracked)
    step = tf.cast(trainer.meta_step.value, "int64")
    first_fault = trainer.non_finite[0] < 0
    written = engine.written(share.replaced(statistics), replicas)
    variables, optimizer = trainer.trainable_variables, trainer.optimizer
    changed = [*variables, *optimizer.variables]
    before = [tf.convert_to_tensor(variable.value) for variable in changed]
    _apply(optimizer, gradients, meta_loss, variables, finite & first_fault)
    taken = finite & all_finite([variable.value for variable in variables])
    taken &= first_fault
    notes = [
        *[(v, value, ~taken) for v, value in zip(changed, before, strict=True)],
        *[(v, value, taken) for v, value in written],
        (trainer.meta_step, step + 1, taken),
        (trainer.non_finite, tf.stack([step, bad_task]), first_fault & ~taken),
    ]
    write_where(trainer.distribute_strategy, notes)


def _summed(replicas, *nest):
    flat = replicas.sum(tf.nest.flatten(nest))
    return tf.nest.pack_sequence_as(nest, flat)


def _apply(optimizer, gradients, meta_loss, variables, is_sound):
    """Lets the outer optimizer step; with zeros in place of unsound gradients.

    A branch around the step would be one around messages between replicas, which
    TensorFlow does not allow: what an unsound step changes is put back afterwards.
    """
    gradients = [tf.where(is_sound, g, tf.zeros_like(g)) for g in gradients]
    gradients = [optimizer.scale_loss(g) for g in gradients]
    optimizer.scale_loss(meta_loss)
    optimizer.apply(gradients, variables)


@contextlib.contextmanager
def _sums_ready(optimizer):
    """Keeps an optimizer, while a step is traced, from summing over replicas again.

    Its gradients are sums already. Keras would clip each replica's part by itself,
    and send all of them a second time.
    """
    object.__setattr__(optimizer, "_all_reduce_sum_gradients", list)
    try:
        yield
    finally:
        object.__delattr__(optimizer, "_all_reduce_sum_gradients")


def write_where(strategy, notes):
    """Writes on each replica its own value, where its condition holds.

    Args:
        strategy: `tf.distribute.Strategy`.
        notes: list of tuples `(variable, value, bool scalar)`.
    """
    variables, values, conditions = zip(*notes, strict=True)
    tf.__internal__.distribute.interim.maybe_merge_call(
        _update_all,
        strategy,
        [v.value if isinstance(v, keras.Variable) else v for v in variables],
        [tf.convert_to_tensor(value) for value in values],
        list(conditions),
    )


def _update_all(strategy, variables, values, conditions):
    for arguments in zip(variables, values, conditions, strict=True):
        variable, *arguments = arguments
        strategy.extended.update(variable, _update, args=arguments, group=False)


def _update(variable, value, condition):
    variable.assign(tf.where(condition, tf.cast(value, variable.dtype), variable))
