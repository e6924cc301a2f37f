"""Rules that must train alike on every backend; `test_backends.py` runs them.

As a program, on another backend than the tests' own, `python -m
tests.optimizers.backend_rules` checks them and prints their losses as JSON.
"""

import json

import numpy as np

from keras_meta.optimizers import SGD, LSTMOptimizer, MetaAdam, MetaSGD, rate_controller
from keras_meta.testing import check_optimizer
from keras_meta.testing.optimizer_problem import fit, make_model


def steered(**kwargs):
    optimizer = MetaAdam(weights=None, seed=0, **kwargs)
    theta = rate_controller.zero_theta(16)
    theta["rate"] += 0.1 * np.random.default_rng(0).normal(size=theta["rate"].shape)
    theta["rate"][["loss" in name for name in rate_controller.NAMES]] = 0.0
    optimizer.set_theta(theta)
    return optimizer


RULES = {
    "meta_adam": steered,
    "sgd": lambda **k: SGD(seed=0, momentum=0.5, **k),
    "meta_sgd": lambda **k: MetaSGD(seed=0, **k),
    "linear": lambda **k: MetaSGD(seed=0, rate_map="linear", **k),
    "layer": lambda **k: MetaSGD(seed=0, granularity="layer", **k),
    "online": lambda **k: MetaSGD(
        seed=0, online=True, rate_map="linear", hypergradient_rate=0.05, **k
    ),
    "lstm": lambda **k: LSTMOptimizer(seed=0, num_layers=1, chunk_size=13, **k),
    "lstm_normalized": lambda **k: LSTMOptimizer(seed=0, inputs="normalized", **k),
}
# What follows from curves that equal TensorFlow's is not checked again.
CHECKS = {
    "meta_adam": ["missing_gradients", "keras_file_continues"],
    "meta_sgd": None,
    "sgd": ["missing_gradients"],
    "linear": ["update_is_differentiable"],
    "layer": ["update_is_differentiable"],
    "online": ["update_is_differentiable", "subsets_in_another_order"],
    "lstm": ["keras_file_continues"],
    "lstm_normalized": ["update_is_differentiable"],
}


def curve(name):
    """Returns the losses of four epochs, a list of floats."""
    model = make_model(RULES[name](weight_decay=0.1, clipnorm=0.5))
    return fit(model, epochs=4).history["loss"]


if __name__ == "__main__":
    for name, checks in CHECKS.items():
        check_optimizer(RULES[name], checks)
    print(json.dumps({name: curve(name) for name in RULES}))
