"""`python -m keras_meta.testing`: what it prints, and that its checks can fail."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import keras
import pytest

import keras_meta
from keras_meta.presets import registry
from keras_meta.testing import smoke_checks
from keras_meta.testing.__main__ import main


def lines(output):
    return [line.split() for line in output.splitlines()]


def test_a_check_that_fails_does_not_stop_the_others(capsys):
    seen = []

    def broken(folder):
        raise KeyError("a reason\nin two lines")

    def sound(folder):
        assert not list(folder.iterdir())
        (folder / "file").write_text("x")
        seen.append(folder)

    assert main([], {"first": broken, "second": sound, "third": sound}) == 1
    output = lines(capsys.readouterr().out)
    assert output[0][:2] == ["keras_meta", keras_meta.__version__]
    assert ["keras", keras.__version__ + ","] == output[1][4:6]
    assert [(line[0], line[3]) for line in output[2:5]] == [
        ("first", "KeyError:"),
        ("second", "ok"),
        ("third", "ok"),
    ]
    assert output[5] == ["2", "passed,", "1", "failed"]
    assert len(seen) == 2 and not any(folder.exists() for folder in seen)


def test_exit_status_is_0_where_all_pass(capsys):
    assert main([], {"only": lambda folder: None}) == 0
    assert "1 passed, 0 failed" in capsys.readouterr().out


def test_traceback_shows_where_a_check_failed(capsys):
    def broken(folder):
        raise ValueError("a reason")

    main(["--traceback"], {"only": broken})
    assert "in broken" in capsys.readouterr().out


def test_an_optimizer_that_does_not_learn_fails(tmp_path):
    with pytest.raises(AssertionError, match="must fall by a quarter in 60 steps"):
        smoke_checks._check_optimizer(lambda: keras.optimizers.SGD(0.0), tmp_path)


@pytest.fixture
def installed():
    """Skips where keras_meta is only on the path, as `make test` does not have it."""
    if not entry_points(group="console_scripts", name="keras-meta"):
        pytest.skip("needs an installed keras_meta: pip install --editable .")


def test_a_preset_that_does_not_ship_fails(tmp_path, monkeypatch, installed):
    monkeypatch.setattr(registry, "_data_folder", lambda: tmp_path)
    checks = smoke_checks.smoke_checks()
    with pytest.raises(keras_meta.presets.PresetError, match="No shipped preset"):
        checks["preset digits_5way"](tmp_path)
    with pytest.raises(AssertionError, match="presets must ship"):
        smoke_checks._check_console_script(tmp_path)


@pytest.mark.slow
def test_the_suite_passes_and_writes_to_its_temporary_folder_only(tmp_path, installed):
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    for folder in (work, temporary):
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "keras_meta.testing", "--traceback"],
        capture_output=True,
        text=True,
        cwd=work,
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failed" in done.stdout
    assert not list(work.iterdir()) and not list(temporary.iterdir())
