"""Checks the trainer's arguments, before any graph is traced."""

import numbers

import keras
import numpy as np

from keras_meta.optimizers.learned_optimizer import LearnedOptimizer
from keras_meta.optimizers.seeds import checked_seed, draw_seed
from keras_meta.optimizers.sgd import SGD

MAX_SEED = 2**32


def checked_choice(name, value, choices):
    """Returns `value` if it is one of `choices`.

    Raises:
        ValueError: otherwise.
    """
    if not any(value is choice or value == choice for choice in choices):
        raise ValueError(
            f"Argument `{name}` must be one of {list(choices)}. "
            f"Received: {name}={value!r}."
        )
    return value


def checked_flag(name, value):
    """Returns `value` if it is a bool.

    Raises:
        ValueError: otherwise.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"Argument `{name}` must be True or False. Received: {name}={value!r}."
        )
    return bool(value)


def checked_number(name, value, valid, wanted):
    """Returns `value` as a float if it is a real number in its range.

    Args:
        name: str, the argument's name, for the message.
        value: what the caller passed.
        valid: function from a float to bool; False for NaN.
        wanted: str, the range in words.

    Raises:
        ValueError: if it is a bool, not a number, or out of its range.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not valid(float(value)):
        raise ValueError(
            f"Argument `{name}` must be {wanted}. Received: {name}={value!r}."
        )
    return float(value)


def checked_task_seed(seed):
    """Returns `seed`, drawn for None, if it is an int in [0, 2**32).

    Raises:
        ValueError: otherwise.
    """
    seed = draw_seed() if seed is None else checked_seed(seed)
    # Training, validation and evaluation number their streams of tasks by it.
    if seed >= MAX_SEED:
        raise ValueError(
            f"Argument `seed` must be less than 2**32. Received: seed={seed}."
        )
    return seed


def adapted_variables(model, adapt):
    """Returns, for each trainable variable, whether the inner loop changes it.

    Args:
        model: built `keras.Model`.
        adapt: `"all"`, `"head"`, a function from a `keras.Variable` to bool, or a
            list of bool.

    Raises:
        ValueError: if `adapt` is none of these, or chooses nothing.
    """
    variables = model.trainable_variables
    if isinstance(adapt, (list, tuple)) and len(adapt) == len(variables):
        chosen = [bool(choice) for choice in adapt]
    elif isinstance(adapt, str) and adapt == "all":
        chosen = [True] * len(variables)
    elif isinstance(adapt, str) and adapt == "head":
        head = model
        while isinstance(head, keras.Model):  # The last layer may be a model itself.
            head = [layer for layer in head.layers if layer.trainable_variables][-1]
        ids = {id(variable) for variable in head.trainable_variables}
        chosen = [id(variable) in ids for variable in variables]
    elif callable(adapt):
        chosen = [bool(adapt(variable)) for variable in variables]
    else:
        raise ValueError(
            'Argument `adapt` must be "all", "head", a function from a variable to '
            "bool, or a list of bool, one for each trainable variable. "
            f"Received: adapt={adapt!r} for {len(variables)} trainable variables."
        )
    if not any(chosen):
        raise ValueError(
            "Argument `adapt` must choose at least one variable. Received: "
            f"adapt={adapt!r}, which chooses none of "
            f"{[variable.path for variable in variables]}."
        )
    return chosen


def learned_inner_optimizer(
    optimizer, argument="inner_optimizer", example="keras_meta.MetaSGD()"
):
    """Returns the inner optimizer as a `LearnedOptimizer`.

    Args:
        optimizer: what the caller passed.
        argument: str, the argument's name, for the messages.
        example: str, what could be passed, for the messages.

    Raises:
        TypeError: if it is neither that nor a plain `keras.optimizers.SGD`.
        ValueError: if it sets what an inner loop cannot do.
    """
    if isinstance(optimizer, LearnedOptimizer):
        unusable = [
            name
            for name in (
                "use_ema",
                "loss_scale_factor",
                "gradient_accumulation_steps",
            )
            if getattr(optimizer, name)
        ]
        if unusable:
            raise ValueError(
                f"`{argument}` must not set {unusable}: an inner loop takes "
                "every step in full. Set them where the optimizer is used in `fit`."
            )
        return optimizer
    if isinstance(optimizer, keras.optimizers.SGD):
        return SGD.from_keras(optimizer)
    raise TypeError(
        f"Argument `{argument}` must be a `keras_meta.LearnedOptimizer`, such as "
        f"`{example}`, or a plain `keras.optimizers.SGD`. "
        f"Received: {argument}={optimizer!r}."
    )


def check_reptile(trainer):
    """Raises ValueError if a trainer asks Reptile for what it does not do.

    Args:
        trainer: `MetaTrainer` with its theta and settings.
    """
    if trainer.meta_gradient != "reptile":
        return
    if trainer.theta_values():
        raise ValueError(
            'meta_gradient="reptile" learns the initialisation only: the inner '
            "optimizer must have no theta. Received: inner_optimizer="
            f"{type(trainer.inner_optimizer).__name__}, with "
            f"{len(trainer.theta_values())} learned arrays. Use "
            '`keras_meta.SGD(rate)`, or meta_gradient="first_order".'
        )
    if trainer.multi_step_loss is not None:
        raise ValueError(
            'meta_gradient="reptile" has no query loss, so that `multi_step_loss` '
            f"must be None. Received: multi_step_loss={trainer.multi_step_loss!r}."
        )


def check_no_loss(loss, metrics):
    """Raises ValueError for a loss or metrics, where problems bring their own."""
    for name, value in (("loss", loss), ("metrics", metrics)):
        if value is not None:
            raise ValueError(
                f"Argument `{name}` must be None: what is minimised are the losses of "
                f"the problems themselves. Received: {name}={value!r}."
            )
