"""Reads one project again and again: it goes on, moves, is copied, starts anew."""

import json
import os
import shutil

import pytest

from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_records import ImportReport

# KerasTuner's own: threading.currentThread().
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rate(hp):
    return hp.Float("rate", 0.1, 1.0)


def edit_trial(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def scores(pool, index=0):
    return [trial.score for trial in pool.tasks()[index].trials]


def test_imported_twice_doubles_nothing_and_a_longer_search_adds(pool, search):
    tuner = search(rate, max_trials=9)
    assert pool.import_project(tuner.project_dir).added == 9
    before = pool.tasks()
    assert pool.import_project(tuner.project_dir) == ImportReport(
        ["project"], unchanged=9
    )
    assert pool.tasks() == before
    # The ids of more than nine trials have two digits.
    tuner = search(rate, max_trials=12)
    assert tuner.oracle.start_order[8:10] == ["8", "09"]
    assert pool.import_project(tuner.project_dir) == ImportReport(
        ["project"], added=3, unchanged=9
    )
    ids = [trial.trial_id for trial in pool.tasks()[0].trials]
    assert ids == tuner.oracle.start_order


def test_trial_that_the_oracle_does_not_know_of_comes_last(pool, search):
    tuner = search(rate)
    # As after a kill between the writing of a trial and of oracle.json.
    path = pool.path.parent / "project/oracle.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "start_order": ["0", "2", "3"]}))
    pool.import_project(tuner.project_dir)
    ids = [trial.trial_id for trial in pool.tasks()[0].trials]
    assert ids == ["0", "2", "3", "1"]


def test_added_trials_come_after_imported_ones(pool, search):
    tuner = search(rate)
    pool.import_project(tuner.project_dir)
    added = {"values": {"rate": 0.125}, "score": 0.125}
    pool.add("project", [], [added], "default_objective")
    assert pool.import_project(tuner.project_dir).unchanged == 4
    assert scores(pool)[-1] == 0.125
    assert pool.tasks()[0].space == tuner.oracle.get_space().get_config()["space"]


def test_trial_that_was_running_goes_on_in_its_row(pool, search):
    results = iter([0.5, 0.25, None])

    def function(hp):
        value = next(results)
        hp.Float("rate", 0.1, 1.0)
        if value is None:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        search(function)
    folder = pool.path.parent / "project"
    assert pool.import_project(folder).added == 3
    [*_, running] = pool.tasks()[0].trials
    assert (running.status, running.score) == ("RUNNING", None)
    tuner = search(rate)
    assert pool.import_project(folder) == ImportReport(
        ["project"], added=1, updated=1, unchanged=2
    )
    trials = pool.tasks()[0].trials
    assert [trial.status for trial in trials] == ["COMPLETED"] * 4
    assert scores(pool) == [tuner.oracle.trials[t.trial_id].score for t in trials]


def test_older_copy_of_a_project_takes_nothing_back(pool, search, tmp_path):
    search(rate, max_trials=3)
    shutil.copytree(tmp_path / "project", tmp_path / "older")
    edit_trial(tmp_path / "older/trial_2/trial.json", status="RUNNING", score=None)
    search(rate, max_trials=6)
    pool.import_project(tmp_path / "project")
    before = pool.tasks()
    shutil.rmtree(tmp_path / "project")
    shutil.move(tmp_path / "older", tmp_path / "project")
    assert pool.import_project(tmp_path / "project").unchanged == 3
    assert pool.tasks() == before


def test_id_that_was_given_out_again_is_another_trial(pool, search):
    tuner = search(rate)
    pool.import_project(tuner.project_dir)
    path = pool.path.parent / "project/trial_3/trial.json"
    parameters = json.loads(path.read_text())["hyperparameters"]
    parameters["values"] = {"rate": 0.125}
    observed = {"direction": "min", "observations": [{"value": [0.125], "step": 0}]}
    metrics = {"metrics": {"default_objective": observed}}
    edit_trial(path, hyperparameters=parameters, score=0.125, metrics=metrics)
    assert pool.import_project(tuner.project_dir) == ImportReport(
        ["project"], added=1, unchanged=3
    )
    ids = [trial.trial_id for trial in pool.tasks()[0].trials]
    assert ids == ["0", "1", "2", "3", "3"]
    assert scores(pool)[-1] == 0.125


def test_search_that_was_started_anew_is_another_task(pool, search):
    tuner = search(rate)
    pool.import_project(tuner.project_dir)
    search(lambda hp: rate(hp) + 1.0, overwrite=True)
    assert pool.import_project(tuner.project_dir).tasks == ["project (2)"]
    assert pool.import_project(tuner.project_dir) == ImportReport(
        ["project (2)"], unchanged=4
    )
    assert min(scores(pool, 1)) > 1.0 > max(scores(pool, 0))


def test_folder_that_was_moved_or_copied_is_known_again(pool, search, tmp_path):
    tuner = search(rate)
    pool.import_project(tuner.project_dir)
    shutil.copytree(tuner.project_dir, tmp_path / "copy")
    assert pool.import_project(tmp_path / "copy").unchanged == 4
    assert pool.tasks()[0].source == os.path.realpath(tuner.project_dir)
    shutil.rmtree(tuner.project_dir)
    assert pool.import_project(tmp_path / "copy").unchanged == 4
    assert pool.tasks()[0].source == os.path.realpath(tmp_path / "copy")
    assert len(pool) == 1


def test_searches_that_agree_in_a_trial_are_two_tasks(pool, search):
    # One seed and one space: the first two trials have the same scores.
    search(lambda hp: float(rate(hp) > 2), project="a", max_trials=2)
    search(lambda hp: float(rate(hp) > 2), project="b", max_trials=2)
    search(lambda hp: rate(hp), project="c", max_trials=4)
    search(lambda hp: max(0.3, rate(hp)), project="d", max_trials=4)
    pool.import_project(pool.path.parent)
    assert {len(task.trials) for task in pool.tasks()[:2]} == {2}
    assert len(pool) == 4


def test_projects_are_found_below_a_folder(pool, search, tmp_path, monkeypatch):
    top = tmp_path / "searches"
    for i, name in enumerate(["a", "b/deep/er", "cafe"]):
        search(rate, directory=top, project=name, seed=i + 1)
    (top / "cafe").rename(top / os.fsdecode(b"caf\xe9"))
    search(rate, directory=tmp_path / "outside", project="c", seed=9)
    os.symlink(tmp_path / "outside", top / "link")
    os.symlink(top, top / "a" / "loop")
    monkeypatch.setattr("keras_meta.tuner.pool_import.PROJECTS_AT_ONCE", 2)
    report = pool.import_project(top)
    assert (len(report.tasks), report.added) == (3, 12)
    names = {"searches/a", "searches/b/deep/er", "searches/caf\\udce9"}
    assert set(report.tasks) == {task.name for task in pool.tasks()} == names
    assert pool.import_project(top) == ImportReport(report.tasks, unchanged=12)
    # By itself, through a link and a detour: the same search.
    detour = tmp_path / "outside" / ".." / "searches" / "a"
    assert pool.import_project(detour).tasks == ["searches/a"]
    assert pool.import_project(top / "link").tasks == ["outside/c"]


def test_name_is_the_users(pool, search):
    search(rate, "a")
    search(lambda hp: rate(hp) + 1.0, "b/c")
    folder = pool.path.parent
    assert pool.import_project(folder / "a", name="digits").tasks == ["digits"]
    assert pool.import_project(folder, name="old").tasks == ["digits", "old/b/c"]
    assert pool.import_project(folder / "b", name="digits").tasks == ["old/b/c"]
    shutil.copytree(folder / "a", folder / "copy")
    assert pool.import_project(folder / "copy", name="mine").tasks == ["mine"]
    other = ExperiencePool(folder / "other.sqlite")
    other.import_project(folder / "a", name="both")
    assert other.import_project(folder / "b/c", name="both").added == 4
    assert (len(other), other.num_trials) == (1, 8)
    pool.add("taken", [], [], "val_accuracy")
    search(lambda hp: rate(hp) + 2.0, "d")
    with pytest.raises(ValueError, match="'taken' has the objective 'val_accuracy'"):
        pool.import_project(folder / "d", name="taken")


def test_folder_that_is_no_project_says_what_was_looked_for(pool, tmp_path):
    (tmp_path / "empty").mkdir()
    message = r"a folder with 'oracle.json' or with 'trial_\*/trial.json'. Received"
    with pytest.raises(ValueError, match=message):
        pool.import_project(tmp_path / "empty")
    with pytest.raises(ValueError, match="must be a folder that exists. Received"):
        pool.import_project(tmp_path / "none")
    (tmp_path / "empty/oracle.json").write_text("{}")
    with pytest.raises(ValueError, match="has no trial that can be read"):
        pool.import_project(tmp_path / "empty")
