"""A search whose process was killed while KerasTuner wrote the tuner's own file."""

import math
import os

import keras_tuner
import pytest

from keras_meta.tuner import MetaOracle


def search(folder, ran, trials, overwrite=False):
    class Search(keras_tuner.Tuner):
        def run_trial(self, trial):
            ran.append(trial.trial_id)
            return {"score": trial.hyperparameters.get("rate")}

    objective = keras_tuner.Objective("score", "min")
    tuner = Search(
        hypermodel=lambda hp: hp.Float("rate", 0.0, 1.0),
        oracle=MetaOracle(objective, max_trials=trials, seed=0),
        directory=folder,
        project_name="search",
        overwrite=overwrite,
    )
    tuner.search()


@pytest.mark.parametrize("kill", ["before the file is there", "while it is empty"])
def test_finished_trials_stay_where_the_tuners_file_does_not(tmp_path, kill):
    ran = []
    search(tmp_path, ran, trials=2)
    path = tmp_path / "search" / "tuner0.json"
    path.unlink() if kill == "before the file is there" else path.write_text("")
    search(tmp_path, ran, trials=3)
    assert ran == ["0", "1", "2"]
    assert path.read_text() == "{}"
    assert not [name for name in os.listdir(path.parent) if "draft" in name]


def test_a_search_without_the_tuners_file_is_overwritten_where_asked_for(tmp_path):
    ran = []
    search(tmp_path, ran, trials=1)
    (tmp_path / "search" / "tuner0.json").unlink()
    search(tmp_path, ran, trials=1, overwrite=True)
    assert ran == ["0", "0"]


def test_a_worker_that_is_new_begins_without_a_state(tmp_path, monkeypatch):
    search(tmp_path, [], trials=1)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner1")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    MetaOracle("loss")._set_project_dir(tmp_path, "search")
    assert not (tmp_path / "search" / "tuner1.json").exists()


@pytest.mark.parametrize("direction, sign", [("min", -1.0), ("max", 1.0)])
def test_an_infinity_is_never_the_best_score(tmp_path, direction, sign):
    scores = iter([0.3, sign * math.inf, 0.2, -sign * math.inf])

    class Search(keras_tuner.Tuner):
        def run_trial(self, trial):
            return {"score": next(scores)}

    tuner = Search(
        hypermodel=lambda hp: hp.Float("rate", 0.0, 1.0),
        oracle=MetaOracle(keras_tuner.Objective("score", direction), max_trials=4),
        directory=tmp_path,
    )
    tuner.search()
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    [best] = tuner.oracle.get_best_trials(1)
    assert best.score == {"min": 0.2, "max": 0.3}[direction]
