"""Runs every example as a user would: from another folder, as the main program."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What the examples on other people's data import.
SHARED = ("personalisation.py", "personalisation_table.py", "wisdm_users.py")
FILES = sorted((ROOT / "examples").glob("*.py"))
EXAMPLES = [path for path in FILES if path.name not in SHARED]
# What each example must print, and the files that it must write.
SAYS = {
    "clinc150.py": ("pooled, fine-tuned", "table.json"),
    "distributed_meta_training.py": (
        "2 workers have ended well",
        "distributed.kmeta",
    ),
    "m4_hourly.py": ("pooled, fine-tuned", "table.json"),
    "no_tuning.py": ("skipped, see", "no_tuning.csv"),
    "own_tasks.py": ("after 3 steps on 5 rows", "own_tasks.kmeta"),
    "plain_fit.py": ("MetaSGD(online=True): accuracy", None),
    "sinusoid.py": ("on its ten points", "sinusoid.kmeta"),
    "train_lstm_optimizer.py": (
        "validation accuracy",
        "lstm_optimizer.kmeta lstm_optimizer.png",
    ),
    "warm_start_search.py": (
        "MetaOracle: best",
        "searches.sqlite warm_start_search.png",
    ),
    "wisdm.py": ("pooled, fine-tuned", "table.json"),
}
# What an example reads from the folder that KERAS_META_DATA names.
NEEDS = {
    "clinc150.py": "clinc150.json.gz",
    "m4_hourly.py": "m4_hourly.npz",
    "wisdm.py": "wisdm_watch_features.npz",
}


# It starts workers, which run its file again.
OWN_PROCESS = "distributed_meta_training.py"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, quick_trials):
    """Returns a function that runs an example and returns its status and its texts."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")

    def run_example(path, *options):
        if path.name == OWN_PROCESS:
            return run_process(path, *options)
        monkeypatch.setattr(sys, "argv", [str(path), "--quick", *options])
        status = None
        try:
            # A new namespace in this process: TensorFlow is there already.
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        if isinstance(status, str):  # Python prints such a text, and ends with 1.
            return 1, printed.out, printed.err + status
        return status or 0, printed.out, printed.err

    yield run_example
    for name in set(sys.modules).difference(known):
        if f"{name}.py" in SHARED:
            del sys.modules[name]
    keras.utils.clear_session()


def run_process(path, *options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(path), "--quick", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def skip_without_data(path):
    name = NEEDS.get(path.name)
    folder = os.environ.get("KERAS_META_DATA", "")
    if name and not (folder and (pathlib.Path(folder) / name).is_file()):
        pytest.skip(f"KERAS_META_DATA names no folder with the file {name}")


def check_tables(path, printed):
    """What is written is what is printed; differences are ours minus the other."""
    for table in json.loads(path.read_text(encoding="utf-8")):
        ours = table["rows"][0]
        assert table["title"] in printed
        for row in table["rows"]:
            assert f"{row['mean']:.3f} ± {row['ci95']:.3f}" in printed
            assert f"{row['difference']:+.3f} ± " in printed
            gap = ours["mean"] - row["mean"]
            assert row["difference"] == pytest.approx(gap, abs=1e-4)


def test_every_example_is_known_here():
    assert [path.name for path in EXAMPLES] == sorted(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_quickly(path, run, tmp_path):
    said, written = SAYS[path.name]
    skip_without_data(path)
    options = ["--output", written] if path.name in NEEDS else []
    status, printed, errors = run(path, *options)
    assert status == 0, errors
    assert said in printed
    assert "--quick these numbers mean nothing" in printed.splitlines()[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == (written or "").split()
    if path.name in NEEDS:
        check_tables(tmp_path / written, printed)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_example_says_which_file_is_missing(name, run, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_META_DATA", str(tmp_path))
    status, _, errors = run(ROOT / "examples" / name)
    assert status == 1
    assert f"needs the file {NEEDS[name]}" in errors
    assert f"KERAS_META_DATA={tmp_path}" in errors


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_is_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
