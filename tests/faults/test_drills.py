"""All drills, at counts for every day; `benchmarks/drills.py` has the full ones."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("hypothesis")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="They need fork and /proc."),
    # NumPy's, where a search is given NaN as a score.
    pytest.mark.filterwarnings("ignore:All-NaN axis encountered:RuntimeWarning"),
]

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 600.0
FORKING = {
    "killed_saves": 20,
    "killed_first_saves": 20,
    "killed_imports": 20,
    "killed_searches": 20,
    "killed_trainings": 2,
    "full_disk_trainings": 1,
    "full_disk_saves": 20,
    "full_disk_imports": 10,
    "full_disk_searches": 3,
    "read_only_folders": 2,
    "two_writers": 20,
    "search_and_import": 3,
    "workers": 4,
}
OTHERS = {
    "damaged_presets": 500,
    "forged_presets": 200,
    "mutated_trials": 300,
    "mutated_oracles": 300,
    "damaged_pools": 400,
    "forged_pools": 300,
    "hostile_imports": 20,
    "poisoned_tasks": 4,
    "poisoned_losses": 2,
    "poisoned_gradients": 20,
    "poisoned_steps": 20,
    "poisoned_scores": 10,
    "many_searches": 20,
    "many_meta_steps": 1_000,
    "two_threads": 1,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """What came of the drills that fork, run in a process without TensorFlow's work."""
    path = tmp_path_factory.mktemp("drills") / "results.json"
    wanted = [f"{name}={count}" for name, count in FORKING.items()]
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.drills.run", str(path), *wanted],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3_000:]
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    for row in rows.values():
        if "failed" in row:
            row["log"] = run.stderr[-3_000:]
    return rows


@pytest.mark.parametrize("name", FORKING)
def test_a_drill_that_forks(rows, name):
    _check(rows[name], FORKING[name])


@pytest.mark.parametrize("name", OTHERS)
def test_a_drill(name):
    from tests.faults.drills.run import run_drill

    _check(run_drill(name, OTHERS[name]), OTHERS[name])


def test_every_drill_is_run():
    from tests.faults.drills.run import DRILLS

    assert set(FORKING) | set(OTHERS) == set(DRILLS)


def _check(row, count):
    assert "failed" not in row, row
    assert row["count"] >= count, row
    assert sum(row["outcomes"].values()) == row["count"]
