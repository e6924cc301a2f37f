"""What `EpisodicModel.fit` settles before Keras' own `fit` runs."""

import keras

from keras_meta.tasks.task import check_count
from keras_meta.training.fit_callbacks import (
    NonFiniteGuard,
    ResumePoint,
    mend_backup,
)

DEFAULT_STEPS_PER_EPOCH = 100


def keras_fit_arguments(trainer, tasks, meta_batch_size, steps_per_epoch, validation):
    """Checks everything, and returns the arguments of `keras.Model.fit` on data.

    Args:
        trainer: compiled `EpisodicModel`; gets its `meta_batch_size`.
        tasks, meta_batch_size, steps_per_epoch: as in `EpisodicModel.fit`.
        validation: tuple `(tasks or None, number of episodes)`.

    Raises:
        TypeError, ValueError: for what cannot work, before any graph is traced.
    """
    check_strategy(trainer)
    # First of all: who calls `fit(x, y)` learns that it takes tasks.
    source = trainer.source_class(tasks, stream=2 * trainer.seed)
    batch = check_count("meta_batch_size", meta_batch_size)
    if steps_per_epoch is not None:
        check_count("steps_per_epoch", steps_per_epoch)
        trainer.check_steps(steps_per_epoch)
    trainer.meta_batch_size = batch
    trainer.check_episode(source)
    if steps_per_epoch is None:
        steps_per_epoch = (
            source.num_batches(batch) if source.is_dataset else DEFAULT_STEPS_PER_EPOCH
        )
        trainer.check_steps(steps_per_epoch)
    validation_tasks, episodes = validation
    check_count("validation_episodes", episodes)
    validation_source = None
    if validation_tasks is not None:
        validation_source = trainer.source_class(
            validation_tasks, 2 * trainer.seed + 1, "validation_tasks"
        )
        trainer.check_episode(validation_source)
    trainer.prepare(source)
    trainer.settle_jit(source)
    trainer.train_source = source
    trainer.validation_source = validation_source
    trainer.steps_per_execution = trainer.resolved_steps(steps_per_epoch)
    trainer.renew_functions()
    # With a known number of steps a dataset repeats, so that a resumed run finds its
    # place in it by counting.
    trainer.data_repeats = steps_per_epoch is not None
    return {
        "x": source.training_batches(batch, trainer.data_repeats),
        "steps_per_epoch": steps_per_epoch,
        "validation_data": validation_source
        and validation_source.evaluation_batches(batch, episodes),
    }


def with_own_callbacks(callbacks):
    """Returns the user's callbacks, framed by those that meta-training needs.

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
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            mend_backup(callback)
    resume_point = ResumePoint()
    return [
        NonFiniteGuard(),
        resume_point.at_epoch_end,
        *callbacks,
        resume_point.after_restore,
    ]


def check_strategy(trainer):
    """Raises ValueError under a `tf.distribute` strategy with several replicas."""
    replicas = trainer.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            f"{type(trainer).__name__} runs on one device: it cannot be made in the "
            "scope of a "
            "`tf.distribute` strategy with several replicas. Received: "
            f"{type(trainer.distribute_strategy).__name__} with {replicas} replicas. "
            "Make the model and the learner outside of the scope."
        )
