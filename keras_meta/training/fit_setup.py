"""What `EpisodicModel.fit` settles before Keras' own `fit` runs."""

import keras
import tensorflow as tf

from keras_meta.tasks.task import check_count
from keras_meta.training.distributed.fit_checks import (
    check_length,
    check_outer_optimizer,
    check_scope,
    check_shares,
    has_several_workers,
    is_chief,
)
from keras_meta.training.distributed.replicated_data import for_every_replica
from keras_meta.training.distributed.stop_together import StopTogether
from keras_meta.training.distributed.synchronise import is_shared
from keras_meta.training.distributed.worker_agreement import (
    check_agreement,
    facts_of,
    facts_of_data,
)
from keras_meta.training.fit_callbacks import (
    NonFiniteGuard,
    ResumePoint,
    mend_backup,
)

DEFAULT_STEPS_PER_EPOCH = 100
# What writes files; on the chief alone, for workers may share a folder.
WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
)


def keras_fit_arguments(
    trainer, tasks, meta_batch_size, steps_per_epoch, callbacks, others
):
    """Checks everything, and returns the arguments of `keras.Model.fit`.

    Several workers come to one conclusion: all of them raise, or none.

    Args:
        trainer: compiled `EpisodicModel`; gets its `meta_batch_size` and sources.
        tasks, meta_batch_size, steps_per_epoch, callbacks: as in `EpisodicModel.fit`.
        others: dict of the arguments `epochs`, `initial_epoch`, `validation_tasks`,
            `validation_episodes` and `validation_freq`.

    Raises:
        TypeError, ValueError: for what cannot work, before any graph is traced.
    """
    settle = _settled
    if has_several_workers(trainer.distribute_strategy):
        settle = _settled_by_all_workers
    *settled, callbacks = settle(
        trainer, tasks, meta_batch_size, steps_per_epoch, callbacks, others
    )
    with trainer.distribute_strategy.scope():
        arguments = _prepared(trainer, *settled, others["validation_episodes"])
    return {**arguments, "callbacks": _with_own_callbacks(trainer, callbacks)}


def _settled_by_all_workers(trainer, *arguments):
    settled, facts, error = None, None, None
    try:
        settled = _settled(trainer, *arguments)
        facts = facts_of(trainer, _told(trainer, *settled, arguments[-1]))
    except Exception as received:  # Raised below, once the other workers know of it.
        error = received
    check_agreement(trainer.distribute_strategy, facts, error)
    return settled


def _settled(trainer, tasks, meta_batch_size, steps_per_epoch, callbacks, others):
    """Checks; returns `(source, validation source, steps_per_epoch, callbacks)`."""
    # First of all: who calls `fit(x, y)` learns that it takes tasks.
    source = trainer.source_class(tasks, stream=2 * trainer.seed)
    callbacks = _listed(callbacks)
    check_count("epochs", others["epochs"])
    check_scope(trainer)
    batch = check_count("meta_batch_size", meta_batch_size)
    check_shares(trainer, source, batch)
    check_outer_optimizer(trainer)
    if steps_per_epoch is not None:
        check_count("steps_per_epoch", steps_per_epoch)
        trainer.check_steps(steps_per_epoch)
    trainer.meta_batch_size = batch
    trainer.check_episode(source)
    if steps_per_epoch is None:
        steps_per_epoch = (
            source.num_batches(batch) if source.is_dataset else DEFAULT_STEPS_PER_EPOCH
        )
        check_length(trainer, steps_per_epoch)
        trainer.check_steps(steps_per_epoch)
    check_count("validation_episodes", others["validation_episodes"])
    validation_source = None
    if others["validation_tasks"] is not None:
        validation_source = trainer.source_class(
            others["validation_tasks"], 2 * trainer.seed + 1, "validation_tasks"
        )
        trainer.check_episode(validation_source)
    return source, validation_source, steps_per_epoch, callbacks


def _told(trainer, source, validation_source, steps_per_epoch, callbacks, others):
    """Returns what workers compare of the arguments of `fit`."""
    return {
        **others,
        "meta_batch_size": trainer.meta_batch_size,
        "steps_per_epoch": steps_per_epoch,
        "tasks": source.describe(),
        "validation_tasks": validation_source and validation_source.describe(),
        **facts_of_data("tasks", source),
        **facts_of_data("validation_tasks", validation_source),
        "callbacks": [
            type(callback).__name__
            for callback in callbacks
            if _saves_in_epochs(callback) or not isinstance(callback, WRITERS)
        ],
        "meta-steps taken": trainer.meta_steps_taken,
    }


def _prepared(trainer, source, validation_source, steps_per_epoch, episodes):
    trainer.prepare(source)
    trainer.settle_jit(source)
    trainer.train_source = source
    trainer.validation_source = validation_source
    trainer.validation_episodes = episodes
    trainer.steps_per_execution = trainer.resolved_steps(steps_per_epoch)
    trainer.renew_functions()
    # With a known number of steps a dataset repeats, so that a resumed run finds its
    # place in it by counting.
    repeat = trainer.data_repeats = steps_per_epoch is not None
    batch = trainer.meta_batch_size
    if is_shared(trainer):
        strategy = trainer.distribute_strategy
        data = for_every_replica(
            strategy, source.training_batches(batch, repeat=False), repeat
        )
        # The trainer evaluates by itself; Keras is to ask for it.
        validation_data = validation_source and for_every_replica(
            strategy, tf.data.Dataset.from_tensors(0), repeat=False
        )
    else:
        data = source.training_batches(batch, repeat)
        validation_data = validation_source and validation_source.evaluation_batches(
            batch, episodes
        )
    return {
        "x": data,
        "steps_per_epoch": steps_per_epoch,
        "validation_data": validation_data,
    }


def _listed(callbacks):
    """Returns the user's callbacks as a list.

    Args:
        callbacks: None, a callback, or a list of them.

    Raises:
        TypeError: if one is no `keras.callbacks.Callback`.
    """
    if callbacks is None:
        callbacks = []
    elif not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "Argument `callbacks` must be a list of `keras.callbacks.Callback`. "
                f"Received: {callback!r}."
            )
    return list(callbacks)


def _with_own_callbacks(trainer, callbacks):
    """Returns the user's callbacks, framed by those that meta-training needs.

    Of several workers only the first, the chief, writes files.
    """
    strategy = trainer.distribute_strategy
    # Before any are left out: all workers bring long runs together, or none.
    resume_point = ResumePoint(saves_in_epochs=any(map(_saves_in_epochs, callbacks)))
    if not is_chief(strategy):
        callbacks = [c for c in callbacks if not isinstance(c, WRITERS)]
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            mend_backup(callback)
    stop = [StopTogether()] if has_several_workers(strategy) else []
    return [
        NonFiniteGuard(),
        resume_point.at_epoch_end,
        *callbacks,
        *stop,
        resume_point.after_restore,
    ]


def _saves_in_epochs(callback):
    """Whether a callback may save weights other than at the end of an epoch."""
    frequency = getattr(callback, "save_freq", "epoch")
    return frequency != "epoch"
