"""Two replicas train as one device does: a process of its own, with two CPUs."""

import pytest

from keras_meta.optimizers import MetaSGD
from keras_meta.testing import check_distributed
from tests.forked import forked

PROGRAM = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, halves)

from keras_meta.optimizers import (
    LSTMOptimizer, MetaAdam, MetaLSTM, MetaSGD, backend_variables
)
from keras_meta.testing import check_distributed


def own_gradients(optimizer, gradients, variables):
    return gradients


def halved(optimizer, gradients, variables):
    return [0.5 * g for g in sound(optimizer, gradients, variables)]


check_distributed(
    lambda **kwargs: MetaSGD(
        seed=0,
        online=True,
        granularity="layer",
        rate_map="linear",
        hypergradient_rate=0.05,
        **kwargs,
    )
)
check_distributed(lambda **kwargs: LSTMOptimizer(seed=0, chunk_size=7, **kwargs))
check_distributed(lambda **kwargs: MetaLSTM(seed=0, initial_rate=0.2, **kwargs))
check_distributed(lambda **kwargs: MetaAdam(seed=0, weights=None, **kwargs))
print("the sound rules passed")
sound = backend_variables.sum_over_replicas
for broken in (own_gradients, halved):
    backend_variables.sum_over_replicas = broken
    try:
        check_distributed(lambda **kwargs: MetaSGD(seed=0, **kwargs))
    except AssertionError as error:
        print(error)
"""


def test_replicas_train_as_one_device_and_do_not_diverge():
    status, printed = forked(exec, PROGRAM, {"__name__": "__main__"})
    assert status == 0, printed[-4000:]
    lines = iter(printed.splitlines())  # TensorFlow's own may lie between.
    for begin in (
        "the sound rules passed",
        "Replicas must hold the same weights and the same optimizer state.",
        "Training on two replicas must equal the rule.",
    ):
        assert any(line.startswith(begin) for line in lines), printed[-4000:]


def test_check_distributed_needs_two_devices():
    with pytest.raises(RuntimeError, match=r"needs two logical CPUs\. Received: 1\."):
        check_distributed(MetaSGD)
