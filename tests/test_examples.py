"""Runs every example as a user would: its own process, another folder."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What each example must print, and write to the folder that it is run in.
SAYS = {
    "own_tasks.py": ("after 3 steps on 5 rows", "own_tasks.kmeta"),
    "plain_fit.py": ("MetaSGD(online=True): accuracy", None),
    "sinusoid.py": ("on its ten points", "sinusoid.kmeta"),
}


def test_every_example_is_known_here():
    assert [path.name for path in EXAMPLES] == sorted(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_quickly(path, tmp_path):
    said, written = SAYS[path.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(path), "--quick"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ([written] if written else [])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
