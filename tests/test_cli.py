import runpy
import subprocess
import sys
import types

import numpy as np
import pytest

from keras_meta import cli
from keras_meta.presets import Preset, registry


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    path = tmp_path / "tiny.kmeta"
    card = {
        "title": "Sine waves [red]\x1b[2J",
        "optimizer": {
            "module": "somewhere",
            "class_name": "MetaSGD",
            "registered_name": "keras_meta>MetaSGD",
            "config": {"alpha_init": 0.01, "schedule": {"config": {"decay": 0.5}}},
        },
        "trained_on": {"tasks": {"name": "sinusoid", "shots": 10}},
        "parameters": [{"path": "w", "shape": [2, 3]}],
        "evaluation": {
            "tasks": {"shots": 5},
            "episodes": 600,
            "results": {
                "accuracy": {"mean": [0.2, 0.8], "ci95": [0.01, 0.0125]},
                "loss": {"mean": [1.5, 0.25], "ci95": [0.1, 0.02]},
            },
        },
    }
    Preset(card, theta={"alpha": np.ones((2, 3), "float32")}).save(path)
    return path


def rows(output):
    """Splits printed tables into lists of cells, two spaces between cells."""
    lines = [line.strip().split("  ") for line in output.splitlines()]
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_inspect_prints_the_card(path, capsys):
    assert cli.main(["inspect", str(path)]) == 0
    output = capsys.readouterr().out
    printed = rows(output)
    assert ["optimizer class", "keras_meta>MetaSGD"] in printed
    assert ["alpha_init", "0.01"] in printed
    assert ["schedule.config.decay", "0.5"] in printed
    assert ["trained_on.tasks.shots", "10"] in printed
    assert ["tasks.shots", "5"] in printed
    assert ["episodes", "600"] in printed
    assert ["after inner step", "accuracy", "loss"] in printed
    assert ["0", "0.2000 ± 0.0100", "1.5000 ± 0.1000"] in printed
    assert ["1", "0.8000 ± 0.0125", "0.2500 ± 0.0200"] in printed
    assert ["theta/alpha", "float32", "(2, 3)", "6"] in printed
    assert ["total", "6"] in printed
    digest = Preset.from_file(path).card["sha256"]
    assert ["sha256", digest] in printed
    size = f"{path.stat().st_size:,} bytes"
    assert ["size", size] in printed


def test_inspect_prints_a_card_as_text_only(path, capsys):
    cli.main(["inspect", str(path)])
    output = capsys.readouterr().out
    assert "Sine waves [red]\\x1b[2J" in output
    assert "\x1b" not in output


def test_inspect_shows_a_few_of_many_steps(tmp_path, capsys):
    path = tmp_path / "long.kmeta"
    loss = {"mean": [float(i) for i in range(101)], "ci95": [0.5] * 101}
    Preset({"evaluation": {"results": {"loss": loss}}}).save(path)
    cli.main(["inspect", str(path)])
    shown = [
        row
        for row in rows(capsys.readouterr().out)
        if "± 0.5000" in row[-1:][0:1].__str__()
    ]
    assert len(shown) == 12
    assert shown[0] == ["0", "0.0000 ± 0.5000"]
    assert shown[-1] == ["100", "100.0000 ± 0.5000"]


def test_inspect_prints_an_evaluation_of_another_form(tmp_path, capsys):
    path = tmp_path / "other.kmeta"
    Preset({"evaluation": {"results": {"loss": {"mean": [1.0]}}}}).save(path)
    assert cli.main(["inspect", str(path)]) == 0
    assert ["results.loss.mean", "[1.0]"] in rows(capsys.readouterr().out)


def test_presets_lists_what_ships(path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "_data_folder", lambda: path.parent)
    assert cli.main(["presets"]) == 0
    printed = rows(capsys.readouterr().out)
    assert ["name", "title", "size"] in printed
    assert [row[0] for row in printed if row and "bytes" in row[-1]] == ["tiny"]


def test_presets_without_any(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "_data_folder", lambda: tmp_path)
    assert cli.main(["presets"]) == 0
    assert "No presets ship" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.kmeta", "No preset file at 'none.kmeta'. Check the path."),
        ("no-such-name", "No shipped preset has the name 'no-such-name'."),
    ],
)
def test_user_errors_are_one_line_and_status_2(name, message, capsys):
    assert cli.main(["inspect", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"keras-meta: error: {message}")
    assert captured.err.count("\n") == 1


def test_inspect_says_that_a_file_is_no_preset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# Notes")
    assert cli.main(["inspect", "README.md"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras-meta: error: The file 'README.md' is not a preset")
    assert "README.md.kmeta" not in error


def test_damaged_file_is_a_user_error(path, capsys):
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["inspect", str(path)]) == 2
    assert "is damaged, truncated" in capsys.readouterr().err


def test_file_that_cannot_be_read_is_a_user_error(path, monkeypatch, capsys):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert cli.main(["inspect", str(path)]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_demo_passes_its_options_on(monkeypatch):
    received = []
    run = types.ModuleType("keras_meta.demo.run")
    run.main = lambda **options: received.append(options)
    monkeypatch.setitem(sys.modules, "keras_meta.demo", types.ModuleType("demo"))
    monkeypatch.setitem(sys.modules, "keras_meta.demo.run", run)
    assert cli.main(["demo"]) == 0
    assert cli.main(["demo", "--quick", "--output", "here"]) == 0
    assert received == [
        {"quick": False, "output": None},
        {"quick": True, "output": "here"},
    ]


def test_demo_without_its_packages_names_the_extra(monkeypatch, capsys):
    def fail(**options):
        raise ModuleNotFoundError("No module", name="matplotlib.pyplot")

    run = types.ModuleType("keras_meta.demo.run")
    run.main = fail
    monkeypatch.setitem(sys.modules, "keras_meta.demo", types.ModuleType("demo"))
    monkeypatch.setitem(sys.modules, "keras_meta.demo.run", run)
    assert cli.main(["demo"]) == 2
    assert "pip install 'keras_meta[demo]'" in capsys.readouterr().err


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err


def test_the_package_runs_as_the_command_does(monkeypatch):
    command = [sys.executable, "-m", "keras_meta", "presets"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "lstm_default" in found.stdout
    monkeypatch.setattr(sys, "argv", ["keras_meta", "nonsense"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("keras_meta", run_name="__main__")
