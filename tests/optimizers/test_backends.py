"""The optimizers on JAX and torch, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.optimizers.backend_rules import RULES, curve


def curves_of(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.optimizers.backend_rules"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tensorflow_curves():
    return {name: curve(name) for name in RULES}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_conformance_and_the_losses_of_tensorflow(backend, tensorflow_curves):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the package `{backend}`: pip install {backend}")
    curves = curves_of(backend)
    assert set(curves) == set(tensorflow_curves)
    for name, losses in tensorflow_curves.items():
        # What one epoch changes is at least a thousand times the tolerance.
        assert np.abs(np.diff(losses)).max() > 1e-2, name
        np.testing.assert_allclose(
            curves[name], losses, rtol=1e-5, err_msg=f"{name} on {backend}"
        )
