"""`check_optimizer`: does a learned optimizer do all that a Keras optimizer does?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_meta.testing import (
    optimizer_checks_fit,
    optimizer_checks_gradients,
    optimizer_checks_rule,
    optimizer_checks_saving,
    optimizer_checks_settings,
)
from keras_meta.testing.optimizer_problem import (
    assert_equal_bits,
    assert_same_run,
    fit,
    gradients_of_batch,
    make_model,
    reference_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keras_meta.optimizers import LearnedOptimizer


def check_optimizer(
    make_optimizer: Callable[..., LearnedOptimizer], checks: Iterable[str] | None = None
) -> None:
    """Checks that a `LearnedOptimizer` works in every way that Keras uses one.

    The reference of every check is the rule itself: `initial_theta`,
    `initial_state` and `update` called by hand on tensors, with gradients written
    out in NumPy. So what was meta-trained is what runs in `fit`.

    Args:
        make_optimizer: callable `make_optimizer(**kwargs)` that returns a fresh
            optimizer, not built, and passes `kwargs` (`learning_rate`,
            `weight_decay`, ...) on to its constructor. A class will do. It must be
            able to build on any model.
        checks: list of names out of `available_checks()`, or None for all of them.

    Raises:
        AssertionError: at the first check that fails: the property, what was
            received, what to do.
        ValueError: for a check that does not exist on this backend.

    Example:

    >>> from keras_meta.optimizers import MetaSGD
    >>> check_optimizer(lambda **kwargs: MetaSGD(seed=0, **kwargs), ["clipnorm"])
    """
    available = _checks()
    unknown = sorted(set(checks or ()) - set(available))
    if unknown:
        raise ValueError(
            "Argument `checks` must name checks out of `available_checks()`: "
            f"{list(available)}. Received: {unknown}, which do not exist on the "
            f"{keras.backend.backend()} backend."
        )
    for name in available if checks is None else checks:
        try:
            available[name](make_optimizer)
        except AssertionError as error:
            raise AssertionError(f"Check {name!r}: {error}") from error
        except Exception as error:
            raise AssertionError(
                f"Check {name!r}: {available[name].__doc__} Received: "
                f"{type(error).__name__}: {error} See the traceback above."
            ) from error


def available_checks() -> list[str]:
    """Returns the names of the checks that exist on Keras' current backend."""
    return list(_checks())


def check_distributed(make_optimizer: Callable[..., LearnedOptimizer]) -> None:
    """Checks that a `MirroredStrategy` trains as one device does. TensorFlow only.

    Needs two logical devices; on a machine with one CPU make them before anything
    else uses TensorFlow:

        cpu = tf.config.list_physical_devices("CPU")[0]
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, halves)

    Args:
        make_optimizer: as in `check_optimizer`; called inside the strategy's scope.

    Raises:
        AssertionError: if the run differs from the rule, or replicas diverge.
        RuntimeError: if there is only one logical device, or another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`check_distributed` needs the TensorFlow backend. Received: "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) < 2:
        raise RuntimeError(
            "`check_distributed` needs two logical CPUs. Received: "
            f"{len(devices)}. Make them with "
            "`tf.config.set_logical_device_configuration` before anything else "
            "uses TensorFlow."
        )
    strategy = tf.distribute.MirroredStrategy(devices[:2])
    with strategy.scope():
        optimizer = make_optimizer(weight_decay=0.3, learning_rate=0.5)
        model = make_model(optimizer)
    expected, _ = reference_run(
        optimizer,
        lambda step, parameters: gradients_of_batch(step, parameters, 8),
        num_steps=2,
        decayed=range(4),
    )
    # Two steps, of all eight examples: four on each replica.
    fit(model, batch_size=8)
    remedy = (
        "Sum the gradients over replicas first (`sum_over_replicas`), and write "
        "every variable through `distribution.extended.update`."
    )
    what = "Replicas must hold the same weights and the same optimizer state."
    copies = [
        strategy.experimental_local_results(variable.value)
        for variable in [*model.trainable_variables, *optimizer.variables]
    ]
    first, second = (
        [copy.numpy() for copy in replica] for replica in zip(*copies, strict=True)
    )
    assert_equal_bits(second, first, what, remedy)
    what = "Training on two replicas must equal the rule."
    assert_same_run(model.trainable_variables, expected, what, remedy)


def _checks():
    """Returns a dict from name to function, in the order in which they run."""
    fit_checks, gradient_checks = optimizer_checks_fit, optimizer_checks_gradients
    functions = [
        *optimizer_checks_rule.CHECKS,
        *fit_checks.EVERYWHERE,
        *optimizer_checks_settings.CHECKS,
        *gradient_checks.EVERYWHERE,
        *optimizer_checks_saving.CHECKS,
    ]
    if keras.backend.backend() != "torch":
        functions += fit_checks.NOT_ON_TORCH
    if keras.backend.backend() == "tensorflow":
        functions += fit_checks.TENSORFLOW_ONLY
        functions += gradient_checks.TENSORFLOW_ONLY
    return {function.__name__: function for function in functions}
