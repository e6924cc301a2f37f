"""The program that meta-trains MetaAdam: a killed run ends as one that was not."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "meta_adam" / "train.py"
NEEDED = ("mnist_12k.npz", "omniglot28.npz", "wisdm_watch_features.npz")
STEPS = 8
PATIENCE = 180.0


@pytest.fixture
def started(tmp_path):
    folder = os.environ.get("KERAS_META_DATA", "")
    missing = [n for n in NEEDED if not (pathlib.Path(folder or "/none") / n).is_file()]
    if missing:
        pytest.skip(f"KERAS_META_DATA names no folder with the file {missing[0]}")
    config = json.loads(
        (ROOT / "keras_meta/presets/data/meta_adam_default.json").read_text()
    )
    config |= {"families": ["quadratics"], "meta_steps": STEPS, "horizons": [50, 100]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = []

    def start(name):
        process = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAM),
                f"--run={tmp_path / name}",
                f"--config={path}",
                "--checkpoint-seconds=0",
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def theta(folder):
    with np.load(folder / "theta.npz") as stored:
        return {name: stored[name] for name in stored}


def test_a_killed_meta_training_ends_as_an_undisturbed_one(started, tmp_path):
    whole = started("whole")
    assert "done" in whole.communicate(timeout=PATIENCE)[0]
    part = started("part")
    for line in part.stdout:
        if line.startswith("saved 3"):
            break
    part.kill()
    part.wait()
    again = started("part").communicate(timeout=PATIENCE)[0]
    assert "goes on at meta-step" in again and "done" in again
    expected, found = theta(tmp_path / "whole"), theta(tmp_path / "part")
    assert np.any(expected["rate"] != 0.0)
    for name, array in expected.items():
        assert np.array_equal(array, found[name]), name
    assert list((tmp_path / "whole" / "tensorboard").iterdir())
