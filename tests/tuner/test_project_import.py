"""The projects here are written by KerasTuner itself, and damaged by hand."""

import json
import math
import os
import shutil
from pathlib import Path

import keras_tuner
import pytest

from keras_meta.tuner import project_import
from keras_meta.tuner.pool_records import ImportReport

# KerasTuner's own: threading.currentThread(), and update_trial() in run_trial().
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rate(hp):
    return hp.Float("rate", 0.1, 1.0)


def edit_trial(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def scores(pool, index=0):
    return [trial.score for trial in pool.tasks()[index].trials]


def test_imported_trials_are_what_kerastuner_holds(pool, search):
    tuner = search(lambda hp: {"val_loss": rate(hp), "loss": 3.0}, objective="val_loss")
    report = pool.import_project(tuner.project_dir)
    assert report == ImportReport(["project"], added=4)
    [task] = pool.tasks()
    assert (task.objective, task.direction) == ("val_loss", "min")
    assert task.source == os.path.realpath(tuner.project_dir)
    assert task.space == tuner.oracle.get_space().get_config()["space"]
    assert [trial.trial_id for trial in task.trials] == tuner.oracle.start_order
    for trial in task.trials:
        own = tuner.oracle.get_trial(trial.trial_id)
        assert project_import.past_trial(own.get_state()) == trial
        assert trial.values == own.hyperparameters.values
        assert trial.score == own.score == trial.values["rate"]
        assert (trial.status, trial.best_step) == ("COMPLETED", 0)
        assert (trial.seconds, trial.message) == (None, None)
        assert trial.metrics == {
            "val_loss": {"direction": "min", "observations": [[0, own.score]]},
            "loss": {"direction": "min", "observations": [[0, 3.0]]},
        }


@pytest.mark.parametrize("direction", ["min", "max"])
def test_objective_and_direction_are_told_by_the_scores(pool, search, direction):
    objective = keras_tuner.Objective("gain", direction)
    tuner = search(
        lambda hp: {"gain": rate(hp), "loss": 2.0, "accuracy": 1.0 - rate(hp)},
        objective=objective,
    )
    pool.import_project(tuner.project_dir)
    [task] = pool.tasks()
    assert (task.objective, task.direction) == ("gain", direction)


def test_objective_that_cannot_be_told_is_asked_for(pool, search):
    objective = keras_tuner.Objective("a", "max")
    search(lambda hp: {"a": rate(hp), "b": rate(hp)}, "twins", objective=objective)
    search(rate, "single")
    folder = pool.path.parent
    with pytest.raises(ValueError, match="equal to those of 'a', 'b'.*`objective=`"):
        pool.import_project(folder / "twins")
    assert len(pool) == 0
    report = pool.import_project(folder)
    assert (report.tasks, report.added) == ([f"{folder.name}/single"], 4)
    [(path, reason)] = report.skipped
    assert path == folder / "twins"
    assert "Pass `objective=`" in reason
    report = pool.import_project(folder / "twins", objective="a", direction="max")
    assert (report.added, pool.tasks()[1].direction) == (4, "max")


def test_another_objective_scores_the_trials_anew(pool, search):
    tuner = search(
        lambda hp: {"val_loss": rate(hp), "val_accuracy": 1.0 - rate(hp)},
        objective="val_loss",
    )
    pool.import_project(tuner.project_dir, objective="val_accuracy")
    [task] = pool.tasks()
    assert (task.objective, task.direction) == ("val_accuracy", "max")
    assert scores(pool) == [1.0 - trial.values["rate"] for trial in task.trials]
    # The search's own objective makes another task of it.
    assert pool.import_project(tuner.project_dir).added == 4
    assert [task.objective for task in pool.tasks()] == ["val_accuracy", "val_loss"]
    with pytest.raises(ValueError, match="No trial recorded the objective 'auc'"):
        pool.import_project(tuner.project_dir, objective="auc")


def test_only_trials_that_ended_are_scored_anew(search):
    tuner = search(
        lambda hp: {"val_loss": rate(hp), "val_accuracy": 0.5}, objective="val_loss"
    )
    folder = Path(tuner.project_dir)
    edit_trial(folder / "trial_1/trial.json", status="RUNNING", score=None)
    state = json.loads((folder / "trial_2/trial.json").read_text())
    del state["metrics"]["metrics"]["val_accuracy"]
    edit_trial(folder / "trial_2/trial.json", metrics=state["metrics"])
    trials = project_import.read_project(folder, "val_accuracy").trials
    assert [trial.score for trial in trials] == [0.5, None, None, 0.5]
    said = "The trial has no value of 'val_accuracy'."
    assert [trial.message for trial in trials] == [None, None, said, None]


# NumPy's, where all values of a metric are nan.
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
def test_scores_that_are_not_finite_are_none(pool, search):
    values = iter([math.nan, math.inf, 0.5, -math.inf])
    tuner = search(lambda hp: (rate(hp), next(values))[1])
    pool.import_project(tuner.project_dir)
    trials = pool.tasks()[0].trials
    assert scores(pool) == [None, None, 0.5, None]
    assert [trial.status for trial in trials] == ["FAILED"] + ["COMPLETED"] * 3
    assert [trial.message for trial in trials] == [
        "The score was nan.",
        "The score was inf.",
        None,
        "The score was -inf.",
    ]
    curves = [t.metrics["default_objective"]["observations"] for t in trials]
    assert curves == [[[0, None]], [[0, None]], [[0, 0.5]], [[0, None]]]


def test_failed_trial_keeps_the_end_of_its_traceback(pool, search):
    def function(hp):
        if hp.Int("units", 1, 2) == 2:
            raise MemoryError("units " + "x" * 5000 + " no room")
        return 1.0

    tuner = search(function, max_trials=2)
    pool.import_project(tuner.project_dir)
    failed = [t for t in pool.tasks()[0].trials if t.status == "FAILED"]
    assert len(failed) == 1
    assert failed[0].score is None
    assert failed[0].message.endswith("no room\n")
    assert len(failed[0].message) == 2000


def test_conditional_parameters_come_back(pool, search):
    def function(hp):
        kind = hp.Choice("kind", ["a", "b"])
        with hp.conditional_scope("kind", ["a"]):
            hp.Float("weight", 0.1, 1.0)
        with hp.conditional_scope("kind", ["b"]):
            hp.Int("count", 1, 100)
        return float(kind == "a")

    tuner = search(function, max_trials=8)
    pool.import_project(tuner.project_dir)
    [task] = pool.tasks()
    conditions = [entry["config"]["conditions"] for entry in task.space]
    parent = {"class_name": "Parent", "config": {"name": "kind", "values": ["a"]}}
    assert [len(condition) for condition in conditions] == [0, 1, 1]
    assert conditions[1] == [parent]
    active = {t.values["kind"]: sorted(t.values) for t in task.trials}
    assert active == {"a": ["kind", "weight"], "b": ["count", "kind"]}


def test_steps_are_averaged_over_executions(pool, search):
    def function(hp):
        trial = tuner_of[0].oracle.ongoing_trials["tuner0"].trial_id
        for value in (0.25, 0.75):
            for step in (0, 1):
                metrics = {"val_loss": value + step * rate(hp)}
                tuner_of[0].oracle.update_trial(trial, metrics, step=step)
        return {"val_loss": 0.0}

    tuner_of = []
    tuner_of.append(search(rate, max_trials=1, objective="val_loss"))
    tuner_of[0].function = function
    tuner_of[0].oracle.max_trials = 2
    tuner_of[0].search(verbose=0)
    pool.import_project(tuner_of[0].project_dir)
    trial = pool.tasks()[0].trials[1]
    observed = trial.metrics["val_loss"]["observations"]
    assert observed == [[0, 0.5], [1, 0.5 + trial.values["rate"]]]
    assert (trial.score, trial.best_step) == (0.5, 0)


def test_run_that_was_cut_short_gives_way_to_the_second(pool, search):
    tuner = search(rate, max_trials=1)
    # As KerasTuner leaves it: two steps, then all three once more.
    steps = [[0.9, 0.5], [0.8, 0.4], [0.3]]
    observations = [{"value": v, "step": step} for step, v in enumerate(steps)]
    history = {"direction": "min", "observations": observations}
    edit_trial(
        pool.path.parent / "project/trial_0/trial.json",
        metrics={"metrics": {"default_objective": history}},
        score=0.3,
        best_step=2,
    )
    pool.import_project(tuner.project_dir)
    [trial] = pool.tasks()[0].trials
    observed = trial.metrics["default_objective"]["observations"]
    assert observed == [[0, 0.5], [1, 0.4], [2, 0.3]]
    assert (trial.score, trial.best_step) == (0.3, 2)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_truncated_trial_is_skipped_and_named(pool, search, cut):
    tuner = search(rate)
    path = pool.path.parent / "project/trial_1/trial.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    report = pool.import_project(tuner.project_dir)
    assert (report.added, [path for path, _ in report.skipped]) == (3, [path])
    assert "is damaged" in report.skipped[0][1]
    path.write_bytes(whole)
    report = pool.import_project(tuner.project_dir)
    assert (report.added, report.unchanged, report.skipped) == (1, 3, [])
    assert [t.trial_id for t in pool.tasks()[0].trials] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("content", ["", '{"hyperpar', "[1]", None])
def test_project_without_its_oracle_is_read_in_the_order_of_the_ids(
    pool, search, content
):
    tuner = search(rate, max_trials=9)
    tuner = search(rate, max_trials=11)
    path = pool.path.parent / "project/oracle.json"
    path.unlink() if content is None else path.write_text(content)
    report = pool.import_project(tuner.project_dir)
    assert (report.added, [path for path, _ in report.skipped]) == (11, [path])
    [task] = pool.tasks()
    assert [trial.trial_id for trial in task.trials] == tuner.oracle.start_order
    assert task.space == tuner.oracle.get_space().get_config()["space"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hyperparameters": None}, "it has no hyperparameters"),
        ({"hyperparameters": {"space": []}}, "A trial must have `values`"),
        ({"hyperparameters": {"space": 3, "values": {}}}, "A search space must be"),
        ({"metrics": []}, None),
        ({"metrics": {"metrics": 3}}, "its metrics are not an object"),
        ({"metrics": {"metrics": {"a": 3}}}, "'a' has no direction"),
        ({"score": "good"}, "`score` must be a number"),
        ({"score": 10**400}, None),
        ({"best_step": 2**70}, "`best_step` must be a whole number"),
        ({"status": "DONE"}, "`status` must be one of"),
        ({"message": "\ud800 \x00"}, None),
        ({"trial_id": "\udcff"}, None),
    ],
)
def test_trial_with_strange_content_is_skipped_or_read(pool, search, change, reason):
    tuner = search(rate)
    edit_trial(pool.path.parent / "project/trial_1/trial.json", **change)
    report = pool.import_project(tuner.project_dir, objective="default_objective")
    if reason is None:
        assert (report.added, report.skipped) == (4, [])
        assert pool.import_project(tuner.project_dir, objective=None).unchanged == 4
    else:
        [(_, said)] = report.skipped
        assert reason in said
        assert report.added == 3


def test_file_that_is_too_big_deep_or_no_file_is_skipped(pool, search, monkeypatch):
    tuner = search(rate, max_trials=6)
    folder = pool.path.parent / "project"
    (folder / "trial_1/trial.json").write_text("[" * 100_000)
    (folder / "trial_2/trial.json").unlink()
    os.mkfifo(folder / "trial_2/trial.json")
    (folder / "trial_3/trial.json").unlink()
    shutil.move(folder / "trial_4", pool.path.parent / "elsewhere")
    os.symlink(pool.path.parent / "elsewhere", folder / "trial_4")
    (folder / "trial_5/trial.json").write_text(" " * 150_000)
    monkeypatch.setattr(project_import, "MAX_JSON_BYTES", 120_000)
    report = pool.import_project(tuner.project_dir)
    assert report.added == 1
    reasons = {path.parent.name: reason for path, reason in report.skipped}
    assert reasons.pop("project") == "is a link: links are not followed"
    assert "is damaged" in reasons["trial_1"]
    assert reasons["trial_2"] == "is damaged: not a regular file"
    assert reasons["trial_3"] == "is missing"
    assert "150000 bytes, at most 120000 are read" in reasons["trial_5"]


def test_links_and_doubled_keys_are_named_and_not_guessed_at(pool, search, tmp_path):
    tuner = search(rate, max_trials=3)
    folder = pool.path.parent / "project"
    os.replace(folder / "trial_1/trial.json", tmp_path / "outside.json")
    os.symlink(tmp_path / "outside.json", folder / "trial_1/trial.json")
    path = folder / "trial_2/trial.json"
    path.write_text(path.read_text()[:-1] + ', "score": 0.0}')
    report = pool.import_project(tuner.project_dir)
    assert report.added == 1
    reasons = [reason for _, reason in report.skipped]
    assert reasons == [
        "is damaged: it is a link: links are not followed",
        "is damaged: the key 'score' stands twice in an object",
    ]


def test_an_empty_message_of_another_kind_is_none(pool, search):
    tuner = search(rate, max_trials=2)
    path = pool.path.parent / "project/trial_1/trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "message": []}))
    pool.import_project(tuner.project_dir)
    assert [trial.message for trial in pool.tasks()[0].trials] == [None, None]


def test_search_for_projects_has_an_end(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(project_import, "MAX_DEPTH", 2)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/oracle.json").touch()
    (tmp_path / "a/b/c").mkdir()
    (tmp_path / "a/b/c/oracle.json").touch()
    projects, skipped = project_import.find_projects(tmp_path)
    assert (projects, skipped) == ([tmp_path / "a/b"], [])


def test_project_of_kerastuner_1_1(pool, tmp_path):
    # As 1.1.0 wrote it: ids are digests, there is no start_order and no message,
    # sampling may be null, and a logarithmic Int has a step of 1.
    parent = {"class_name": "Parent", "config": {"name": "kind", "values": ["a"]}}
    shared = {"default": None, "conditions": []}
    space = [
        ("Choice", {"name": "kind", "values": ["a", "b"], "ordered": False}),
        ("Float", {"name": "rate", "min_value": 0.001, "max_value": 0.1}),
        ("Int", {"name": "units", "min_value": 1, "max_value": 9}),
        ("Int", {"name": "log_units", "min_value": 1, "max_value": 100}),
    ]
    space = [{"class_name": n, "config": {**shared, **config}} for n, config in space]
    space[1]["config"].update(conditions=[parent], step=None, sampling="log")
    space[2]["config"].update(step=1, sampling=None)
    space[3]["config"].update(step=1, sampling="log")
    folder = tmp_path / "old"
    for name, kind, best in (("4573126d352a", "b", 0.62), ("7adf9f21ace5", "a", 0.66)):
        observed = [{"value": [0.52], "step": 0}, {"value": [best], "step": 1}]
        metrics = {"val_accuracy": {"direction": "max", "observations": observed}}
        values = {"kind": kind, "units": 2, "log_units": 85}
        trial = {
            "trial_id": name,
            "hyperparameters": {"space": space, "values": values},
            "metrics": {"metrics": metrics},
            "score": best,
            "best_step": 1,
            "status": "COMPLETED",
        }
        (folder / f"trial_{name}").mkdir(parents=True)
        (folder / f"trial_{name}/trial.json").write_text(json.dumps(trial))
    state = {"hyperparameters": {"space": space, "values": {}}, "seed": 3}
    (folder / "oracle.json").write_text(json.dumps(state))
    assert pool.import_project(folder) == ImportReport(["old"], added=2)
    [task] = pool.tasks()
    assert (task.objective, task.direction) == ("val_accuracy", "max")
    assert scores(pool) == [0.62, 0.66]
    restored = keras_tuner.HyperParameters.from_config(
        {"space": task.space, "values": {}}
    )
    assert [(p.name, getattr(p, "sampling", "")) for p in restored.space] == [
        ("kind", ""),
        ("rate", "log"),
        ("units", "linear"),
        ("log_units", "log"),
    ]
