"""KerasTuner's searches over plain functions, and processes that use a pool."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from keras_meta.tuner import ExperiencePool

PACKAGE = Path(__file__).parents[2] / "keras_meta"
# The package without its __init__: what a pool needs starts in a tenth of a second,
# and this would fail if it came to need Keras, KerasTuner or a backend.
PRELUDE = f"""
import sys, types
package = types.ModuleType("keras_meta")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["keras_meta"] = package
for name in ("keras", "keras_tuner", "tensorflow", "numpy"):
    sys.modules[name] = None
from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_schema import PoolError
"""


@pytest.fixture
def pool(tmp_path):
    return ExperiencePool(tmp_path / "pool.sqlite")


@pytest.fixture
def short_pretraining(monkeypatch):
    """A prior that a search pretrains sees 50 steps in place of 1500."""
    from keras_meta.tuner import deep_prior, suggestions

    few = functools.partial(deep_prior.pretrained_weights, steps=50)
    monkeypatch.setattr(suggestions, "pretrained_weights", few)


@pytest.fixture
def start_python():
    """Returns a function that starts Python on code that knows ExperiencePool."""
    processes = []

    def start(code, *arguments):
        command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run_python(start_python):
    """Returns a function that runs code to its end and returns what it printed."""

    def run(code, *arguments):
        process = start_python(code, *arguments)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output

    return run


@pytest.fixture
def search(tmp_path):
    """Returns a function that runs a real search and returns its tuner.

    The trial's result is what `function(hp)` returns or raises.
    """
    import keras_tuner

    class FunctionTuner(keras_tuner.Tuner):
        def __init__(self, function, **kwargs):
            self.function = function
            super().__init__(**kwargs)

        def run_trial(self, trial, *args, **kwargs):
            return self.function(trial.hyperparameters)

        def save_model(self, *args, **kwargs):
            pass

    def run(
        function,
        project="project",
        objective=None,
        max_trials=4,
        seed=1,
        directory=tmp_path,
        overwrite=False,
        **oracle_arguments,
    ):
        tuner = FunctionTuner(
            function,
            oracle=keras_tuner.oracles.RandomSearchOracle(
                objective=objective,
                max_trials=max_trials,
                seed=seed,
                max_consecutive_failed_trials=100,
                **oracle_arguments,
            ),
            directory=str(directory),
            project_name=project,
            overwrite=overwrite,
        )
        tuner.search(verbose=0)
        return tuner

    return run
