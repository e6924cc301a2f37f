"""What must hold of a trainer before several replicas train it."""

import keras
import tensorflow as tf


def has_several_workers(strategy):
    """Whether the strategy's replicas are in several processes."""
    return strategy.extended._in_multi_worker_mode()


def is_chief(strategy):
    """Whether this process is the one that writes files, the first of the workers."""
    if not has_several_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_id == 0 and (resolver.task_type == "chief" or not has_chief)


def check_scope(trainer):
    """Raises unless all of the trainer was made in the scope of one strategy.

    Raises:
        ValueError: if the scope was left out, for the trainer or for a part of it.
    """
    name = type(trainer).__name__
    made_in = trainer._distribute_strategy  # None: outside of any scope.
    if tf.distribute.has_strategy() and made_in is not tf.distribute.get_strategy():
        raise ValueError(
            f"`{name}.fit()` was called in the scope of a "
            f"{name_of(tf.distribute.get_strategy())}, in which the {name} was not "
            f"made. Received: a trainer made {_in_words(made_in)}. Make the model, the "
            "optimizers and the trainer, and call `compile()`, in `with "
            "strategy.scope():`."
        )
    strategy = trainer.distribute_strategy
    workers = _workers_of_cluster()
    if workers > 1 and not has_several_workers(strategy):
        raise ValueError(
            f"TF_CONFIG names {workers} workers, but the {name} was made outside of "
            "the scope of a `tf.distribute.MultiWorkerMirroredStrategy`. Received: a "
            f"trainer made {_in_words(strategy)}. Make the strategy before anything "
            "else, and the model, the optimizers and the trainer in `with "
            "strategy.scope():`; or unset TF_CONFIG to train in this process alone."
        )
    several = strategy.num_replicas_in_sync > 1
    for variable in [*trainer.weights, *trainer.optimizer.variables]:
        value = variable.value
        if several:
            known = strategy.extended.variable_created_in_scope(value)
        else:
            known = not isinstance(value, tf.distribute.DistributedValues) or (
                value.distribute_strategy is strategy
            )
        if not known:
            raise ValueError(
                "The model, the optimizers and the trainer must be made in the scope "
                f"of one strategy. Received: a {name} made {_in_words(strategy)}, and "
                f"the variable {variable.path!r}, which was not. Make all of them in "
                "`with strategy.scope():`."
            )


def check_model_scope(model):
    """Raises ValueError for a model made outside of the scope that this is called in.

    TensorFlow would refuse its variables with a message about colocation.
    """
    if not tf.distribute.has_strategy():
        return
    strategy = tf.distribute.get_strategy()
    for variable in model.variables:
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                "The model must be made in the scope of the strategy in which the "
                f"trainer is. Received: the variable {variable.path!r}, which was not, "
                f"in the scope of a {name_of(strategy)}. Make both in `with "
                "strategy.scope():`."
            )


def check_optimizer_scope(trainer):
    """Raises ValueError unless both optimizers were made where the trainer was."""
    optimizers = {"outer": trainer.optimizer}
    if hasattr(trainer, "inner_optimizer"):
        optimizers["learned"] = trainer.inner_optimizer
    for what, optimizer in optimizers.items():
        made_in = optimizer._distribution_strategy
        if made_in is not trainer.distribute_strategy:
            raise ValueError(
                f"The {what} optimizer must be made in the scope of the strategy in "
                f"which the {type(trainer).__name__} is. Received: an optimizer made "
                f"{_in_words(made_in)} and a trainer made "
                f"{_in_words(trainer.distribute_strategy)}. Make both in `with "
                "strategy.scope():`."
            )


def check_outer_optimizer(trainer):
    """Raises ValueError for settings that Keras cannot share among replicas."""
    if trainer.distribute_strategy.num_replicas_in_sync == 1:
        return
    optimizer = trainer.optimizer
    unusable = [
        name
        for name in ("use_ema", "gradient_accumulation_steps")
        if getattr(optimizer, name, None)
    ]
    if unusable:
        raise ValueError(
            "The outer optimizer must not set what Keras cannot do on several "
            f"replicas. Received: {', '.join(unusable)}. Leave it out; a larger "
            "`meta_batch_size` is what accumulated gradients are."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "The outer optimizer must be a plain one on several replicas. Received: "
            "a LossScaleOptimizer. Use the dtype policy mixed_bfloat16, which needs "
            "no loss scaling."
        )


def check_shares(trainer, source, meta_batch_size):
    """Raises ValueError unless each replica gets the same number of tasks."""
    strategy = trainer.distribute_strategy
    count = strategy.num_replicas_in_sync
    groups = len(getattr(source, "problems", (None,)))
    if meta_batch_size % (count * groups) == 0 or count == 1:
        return
    of_each = "" if groups == 1 else f" of each of the {groups} problems"
    below = meta_batch_size - meta_batch_size % (count * groups)
    above = below + count * groups
    choice = f"{below} or {above}" if below else str(above)
    raise ValueError(
        "Argument `meta_batch_size` must be a multiple of the number of replicas, so "
        f"that each takes an equal share{of_each}. Received: meta_batch_size="
        f"{meta_batch_size} for {count} replicas ({name_of(strategy)}). Pass "
        f"`meta_batch_size={choice}`."
    )


def check_length(trainer, steps_per_epoch):
    """Raises ValueError if replicas could come to the end of data at different times.

    Args:
        trainer: `EpisodicModel`.
        steps_per_epoch: int, or None if the dataset's length is not known.
    """
    strategy = trainer.distribute_strategy
    if steps_per_epoch is None and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "Argument `steps_per_epoch` must be given for a dataset of unknown length, "
            f"so that all {strategy.num_replicas_in_sync} replicas end an epoch at "
            "once. Received: steps_per_epoch=None. Pass `fit(..., steps_per_epoch=100)"
            "`, or say the length with `tf.data.experimental.assert_cardinality`."
        )


def name_of(strategy):
    """Returns the name that users know a strategy by, a str."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "MultiWorkerMirroredStrategy"
    return type(strategy).__name__


def _workers_of_cluster():
    """Returns how many workers TF_CONFIG names, 0 if it is not set."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    jobs = resolver.cluster_spec().as_dict()
    return sum(len(jobs.get(job, ())) for job in ("chief", "worker"))


def _in_words(strategy):
    if strategy is None or type(strategy).__name__.startswith("_Default"):
        return "outside of any scope"
    count = strategy.num_replicas_in_sync
    return f"in the scope of a {name_of(strategy)} with {count} replicas"
