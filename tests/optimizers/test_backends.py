"""The optimizers on JAX and torch, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json, sys
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
    "lstm": lambda **k: LSTMOptimizer(seed=0, chunk_size=7, **k),
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
curves = {}
for name, make in RULES.items():
    if sys.argv[1] == "check":
        check_optimizer(make, CHECKS[name])
    model = make_model(make(weight_decay=0.1, clipnorm=0.5))
    curves[name] = fit(model, epochs=4).history["loss"]
print(json.dumps(curves))
"""


def run(backend, command):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, command],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tensorflow_curves():
    return run("tensorflow", "curves")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_conformance_and_the_losses_of_tensorflow(backend, tensorflow_curves):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the package `{backend}`: pip install {backend}")
    curves = run(backend, "check")
    for name, losses in tensorflow_curves.items():
        # What one epoch changes is at least a thousand times the tolerance.
        assert np.abs(np.diff(losses)).max() > 1e-2, name
        np.testing.assert_allclose(
            curves[name], losses, rtol=1e-5, err_msg=f"{name} on {backend}"
        )
