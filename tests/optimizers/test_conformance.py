"""Every rule passes `check_optimizer` on this process' backend."""

import functools

import keras
import numpy as np
import pytest

from keras_meta.optimizers import (
    SGD,
    Adam,
    LSTMOptimizer,
    MetaAdam,
    MetaLSTM,
    MetaSGD,
    RMSprop,
    Safeguarded,
    rate_controller,
)
from keras_meta.testing import available_checks, check_optimizer

# What other settings of a rule can break; the rest of Keras' settings is the base
# class', and is run once, for MetaSGD's defaults.
OF_A_SETTING = [
    "initial_theta_depends_on_the_seed_only",
    "update_is_pure",
    "update_keeps_shapes_and_dtypes",
    "learning_rate_multiplies_the_step",
    "update_is_differentiable",
    "fit_equals_the_rule",
    "weight_decay",
    "config_is_small_and_complete",
]
OF_STATE = [
    "gradient_accumulation",
    "missing_gradients",
    "subsets_in_another_order",
    "half_precision_variables",
    "loss_scale_optimizer",
    "keras_file_continues",
    "load_weights_before_build",
    "wrong_variables_raise",
]


@keras.saving.register_keras_serializable("tests")
class Steered(MetaAdam):
    """A controller that reads everything but the loss.

    The reference runs of `check_optimizer` do not know a loss.
    """

    def initial_theta(self, shapes, seed):
        theta = rate_controller.zero_theta(16)
        theta["rate"] += 0.1 * np.random.default_rng(0).normal(size=theta["rate"].shape)
        theta["rate"][["loss" in name for name in rate_controller.NAMES]] = 0.0
        return theta


OTHERS = {
    "meta_adam": functools.partial(Steered, weights=None, seed=0),
    "safeguarded": lambda **kwargs: Safeguarded(MetaSGD(seed=0), **kwargs),
    "sgd": functools.partial(SGD, seed=0),
    "sgd_nesterov": functools.partial(SGD, seed=0, momentum=0.9, nesterov=True),
    "adam": functools.partial(Adam, seed=0),
    "rmsprop": functools.partial(RMSprop, seed=0),
    "meta_sgd_tensor": functools.partial(MetaSGD, seed=0, granularity="tensor"),
    "meta_sgd_linear": functools.partial(MetaSGD, seed=0, rate_map="linear"),
    "meta_sgd_online": functools.partial(
        MetaSGD, seed=0, online=True, hypergradient_rate=0.01
    ),
    "meta_sgd_online_linear_layer": functools.partial(
        MetaSGD,
        seed=0,
        granularity="layer",
        rate_map="linear",
        online=True,
        hypergradient_rate=0.01,
    ),
    "lstm_chunked": functools.partial(LSTMOptimizer, seed=0, chunk_size=7),
    # The reference runs of `check_optimizer` do not know a loss.
    "meta_lstm": functools.partial(
        MetaLSTM, seed=0, use_loss=False, initial_rate=0.1, initial_decay=0.01
    ),
    "lstm_normalized": functools.partial(
        LSTMOptimizer, seed=0, inputs="normalized", num_layers=1
    ),
}


@pytest.mark.parametrize("check", available_checks())
def test_meta_sgd(check):
    check_optimizer(functools.partial(MetaSGD, seed=0), [check])


@pytest.mark.parametrize("check", available_checks())
def test_lstm_optimizer(check):
    check_optimizer(functools.partial(LSTMOptimizer, seed=0), [check])


@pytest.mark.parametrize("name", OTHERS)
def test_other_rules_and_settings(name):
    check_optimizer(OTHERS[name], OF_A_SETTING)


@pytest.mark.parametrize(
    "name",
    [
        "sgd_nesterov",
        "adam",
        "meta_sgd_online_linear_layer",
        "lstm_chunked",
        "meta_lstm",
        "lstm_normalized",
        "meta_adam",
        "safeguarded",
    ],
)
def test_rules_with_state(name):
    check_optimizer(OTHERS[name], OF_STATE)


@pytest.mark.parametrize("name", ["meta_sgd_online_linear_layer", "meta_adam"])
def test_with_xla(name):
    check_optimizer(OTHERS[name], ["fit_with_xla_equals_the_rule"])


def test_without_a_seed():
    # The class itself, which draws another seed for each instance.
    checks = ["fit_equals_the_rule", "keras_file_continues", "two_models"]
    check_optimizer(MetaSGD, [*checks, "config_is_small_and_complete"])
