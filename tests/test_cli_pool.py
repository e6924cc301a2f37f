import io
import json
import os
import sys

import pytest

from keras_meta import cli
from keras_meta.tuner import ExperiencePool


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_project(folder, scores, metrics=("val_accuracy",)):
    """Writes the files of a search as KerasTuner does, one trial a score."""
    units = {"name": "units", "min_value": 1, "max_value": 9, "step": 1}
    space = [{"class_name": "Int", "config": {**units, "conditions": []}}]
    for i, score in enumerate(scores):
        observed = [{"value": [score], "step": 0}]
        history = {"direction": "max", "observations": observed}
        trial = {
            "trial_id": str(i),
            "hyperparameters": {"space": space, "values": {"units": i + 1}},
            "metrics": {"metrics": {name: history for name in metrics}},
            "score": score,
            "best_step": 0,
            "status": "COMPLETED",
            "message": None,
        }
        (folder / f"trial_{i}").mkdir(parents=True)
        (folder / f"trial_{i}" / "trial.json").write_text(json.dumps(trial))
    order = [str(i) for i in range(len(scores))]
    state = {"hyperparameters": {"space": space, "values": {}}, "start_order": order}
    (folder / "oracle.json").write_text(json.dumps(state))


def rows(output):
    """Splits printed tables into lists of cells, two spaces between cells."""
    lines = [line.strip().split("  ") for line in output.splitlines()]
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_import_says_what_is_new_and_what_was_skipped(folder, capsys):
    write_project(folder / "a", [0.5, 0.75])
    write_project(folder / "more" / "b", [0.25])
    assert cli.main(["pool", "import", "a", "more", "--pool", "p.sqlite"]) == 0
    printed = rows(capsys.readouterr().out)
    assert ["folder", "tasks", "new", "updated", "known"] in printed
    assert ["a", "1", "2", "0", "0"] in printed
    assert ["more", "1", "1", "0", "0"] in printed
    (folder / "a/trial_1/trial.json").write_text("{")
    assert cli.main(["pool", "import", "a", "--pool", "p.sqlite"]) == 0
    printed = rows(capsys.readouterr().out)
    assert ["a", "1", "0", "0", "1"] in printed
    [skipped] = [row for row in printed if row and "trial_1" in row[0]]
    assert skipped[1].startswith("is damaged")
    assert ExperiencePool("p.sqlite").num_trials == 3


def test_show_lists_the_tasks(folder, capsys):
    write_project(folder / "a\x1b[2J", [0.5, 0.75])
    write_project(folder / "b", [3.0, 2.0], ["val_loss"])
    cli.main(["pool", "import", "a\x1b[2J"])
    cli.main(["pool", "import", "b", "--objective", "val_loss", "--direction", "min"])
    capsys.readouterr()
    assert cli.main(["pool", "show"]) == 0
    output = capsys.readouterr().out
    printed = rows(output)
    assert ["name", "objective", "trials", "ended", "best"] in printed
    assert ["a\\x1b[2J", "max val_accuracy", "2", "2", "0.75"] in printed
    assert ["b", "min val_loss", "2", "2", "2"] in printed
    assert ["total", "4"] in printed
    assert "\x1b" not in output


def test_export_writes_json_lines(folder, capsys):
    write_project(folder / "a", [0.5, 0.75])
    cli.main(["pool", "import", "a"])
    capsys.readouterr()
    assert cli.main(["pool", "export"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["score"] for line in lines] == [0.5, 0.75]
    assert cli.main(["pool", "export", "--output", "trials.jsonl"]) == 0
    assert capsys.readouterr().out == ""
    assert (folder / "trials.jsonl").read_text().splitlines() == lines


def test_export_to_a_reader_that_has_enough_ends_quietly(folder, monkeypatch):
    write_project(folder / "a", [0.5] * 5)
    cli.main(["pool", "import", "a"])
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True) as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert cli.main(["pool", "export"]) == 0


def test_no_pool_is_made_for_a_folder_that_does_not_exist(folder, capsys):
    assert cli.main(["pool", "import", "nowhere"]) == 2
    assert "There is no folder 'nowhere'" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_no_pool_is_made_for_a_folder_without_projects(folder, capsys):
    (folder / "empty").mkdir()
    assert cli.main(["pool", "import", "empty"]) == 2
    assert "which has none" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["empty"]


def test_an_empty_pool_has_no_importance(folder, capsys):
    ExperiencePool("experience.sqlite").close()
    assert cli.main(["pool", "importance"]) == 2
    assert "is empty: import searches first" in capsys.readouterr().err


def test_folder_that_is_no_project_does_not_stop_the_others(folder, capsys):
    write_project(folder / "a", [0.5])
    write_project(folder / "twins", [0.5], ["x", "y"])
    (folder / "empty").mkdir()
    assert cli.main(["pool", "import", "empty", "twins", "a"]) == 2
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert [line.startswith("keras-meta: error: ") for line in errors] == [True, True]
    assert "must be a KerasTuner project" in errors[0]
    assert "Pass `objective=`" in errors[1]
    assert ["a", "1", "1", "0", "0"] in rows(captured.out)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["show"], "No experience pool at"),
        (["export", "--pool", "none.sqlite"], "No experience pool at"),
        (["show", "--pool", "notes.txt"], "is not an experience pool but another kind"),
        (["import", "a", "--pool", "notes.txt"], "is not an experience pool"),
        (["import", "a", "--direction", "min"], "goes with the name of a metric"),
    ],
)
def test_user_errors_are_one_line_and_status_2(folder, capsys, command, message):
    write_project(folder / "a", [0.5])
    (folder / "notes.txt").write_text("Notes of May. " * 500)
    assert cli.main(["pool", *command]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-meta: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_no_pool_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["pool"])
    assert "POOL_COMMAND" in capsys.readouterr().err


def test_importance_ranks_the_hyperparameters(folder, capsys):
    write_project(folder / "old", [0.1 * i for i in range(9)])
    assert cli.main(["pool", "import", "old"]) == 0
    assert cli.main(["pool", "importance", "--plot", "importance.png"]) == 0
    assert "units" in capsys.readouterr().out
    assert (folder / "importance.png").read_bytes()[:4] == b"\x89PNG"
    assert cli.main(["pool", "importance", "--objective", "val_auc"]) == 2
    assert "no task with the objective 'val_auc'" in capsys.readouterr().err
