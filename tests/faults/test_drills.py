"""Drills at counts for every day; `make drills` runs all, in full, and CI runs it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("hypothesis")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="They need fork and /proc."
)

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 1_800.0
COUNTS = {
    "killed_saves": 3,
    "killed_first_saves": 3,
    "killed_imports": 3,
    "killed_searches": 3,
    "full_disk_saves": 5,
    "full_disk_imports": 2,
    "full_disk_searches": 1,
    "read_only_folders": 1,
    "two_writers": 10,
    "search_and_import": 2,
    "damaged_presets": 50,
    "forged_presets": 50,
    "mutated_trials": 25,
    "mutated_oracles": 25,
    "damaged_pools": 25,
    "forged_pools": 25,
    "hostile_imports": 10,
    "poisoned_tasks": 2,
    "poisoned_losses": 2,
    "poisoned_gradients": 5,
    "poisoned_steps": 10,
    "poisoned_scores": 5,
    "many_searches": 10,
    "two_threads": 1,
}
# These take ten seconds and more whatever the count.
LEFT_TO_MAKE_DRILLS = {
    "killed_trainings",
    "full_disk_trainings",
    "workers",
    "many_meta_steps",
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """What came of the drills, all in one process: those that fork come first."""
    path = tmp_path_factory.mktemp("drills") / "results.json"
    wanted = [f"{name}={count}" for name, count in COUNTS.items()]
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


@pytest.mark.parametrize("name", COUNTS)
def test_a_drill(rows, name):
    _check(rows[name], COUNTS[name])


def test_every_drill_is_run(rows):
    source = (ROOT / "tests" / "faults" / "drills" / "run.py").read_text()
    listed = re.findall(r"^    \w+\.(\w+),$", source, re.MULTILINE)
    assert sorted(listed) == sorted(LEFT_TO_MAKE_DRILLS | COUNTS.keys())
    assert rows.keys() == COUNTS.keys()
    program = (ROOT / "benchmarks" / "drills.py").read_text()
    in_full = re.findall(r'^        "(\w+)": [\d_]+,$', program, re.MULTILINE)
    assert sorted(listed) == sorted(in_full)


def _check(row, count):
    assert "failed" not in row, row
    assert row["count"] >= count, row
    assert sum(row["outcomes"].values()) == row["count"]
