"""Which past a search has: its own folder's, its own name's, what can be read of it."""

import sqlite3

import keras_tuner
import pytest

from keras_meta.tuner import ExperiencePool, MetaOracle

OBJECTIVE = keras_tuner.Objective("val_score", "max")
pytestmark = pytest.mark.usefixtures("short_pretraining")


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("a", 0.0, 1.0)
    hp.Float("b", 0.0, 1.0)
    return hp


def score_of(values):
    return 1.0 - (values["a"] - 0.3) ** 2 - (values["b"] - 0.6) ** 2


def searched(folder, experience, trials=4, project="search", stop=False, **arguments):
    """Runs an oracle as a tuner does; returns it."""
    arguments = {"max_trials": trials, "hyperparameters": space()} | arguments
    oracle = MetaOracle(OBJECTIVE, experience=experience, seed=0, **arguments)
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), project)
    if (folder / project / "oracle.json").exists():
        oracle.reload()
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        if stop and len(oracle.start_order) == trials:
            return oracle
        score = score_of(trial.hyperparameters.values)
        oracle.update_trial(trial.trial_id, {"val_score": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return oracle


def overwrite(folder, project="search"):
    """What `overwrite=True` does."""
    for path in sorted((folder / project).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_earlier_searches_of_the_same_folder_are_a_past(tmp_path):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path)
    overwrite(tmp_path)
    oracle = searched(tmp_path, path)
    assert len(oracle.used_tasks) == 1
    assert len(ExperiencePool(path)) == 2


def test_earlier_searches_of_the_same_name_are_a_past(tmp_path):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path, task_name="mnist")
    oracle = searched(tmp_path, path, project="next", task_name="mnist")
    assert oracle.used_tasks == ["mnist"]
    assert oracle.experience.seen == {"mnist": 4}
    (task,) = ExperiencePool(path).tasks()
    assert len(task.trials) > 4
    # Resumed, it has the same past, not its own trials.
    resumed = searched(tmp_path, path, 6, project="next", task_name="mnist")
    assert resumed.experience.seen == {"mnist": 4}


def test_a_resumed_search_is_not_its_own_past(tmp_path):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path, 3)
    oracle = searched(tmp_path, path, 5)
    assert oracle.used_tasks == []
    (task,) = ExperiencePool(path).tasks()
    assert len(task.trials) == 5


def test_another_oracles_search_is_resumed_and_learned(tmp_path):
    other = keras_tuner.oracles.RandomSearchOracle(
        OBJECTIVE, max_trials=3, hyperparameters=space(), seed=1
    )
    other.verbose = 0
    other._set_project_dir(str(tmp_path), "search")
    while (trial := other.create_trial("tuner0")).status == "RUNNING":
        other.update_trial(
            trial.trial_id, {"val_score": score_of(trial.hyperparameters.values)}
        )
        trial.status = "COMPLETED"
        other.end_trial(trial)
    path = tmp_path / "pool.sqlite"
    oracle = searched(tmp_path, path, 5)
    assert oracle.used_tasks == []
    (task,) = ExperiencePool(path).tasks()
    assert [trial.trial_id for trial in task.trials] == ["0", "1", "2", "3", "4"]


def test_a_pool_that_is_gone_costs_the_past_and_not_the_search(tmp_path, caplog):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path)
    pool = ExperiencePool(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trials SET metrics = '{'")
    connection.close()
    oracle = searched(tmp_path, pool, 9, project="next", learn=False)
    assert "goes on without past ones" in caplog.text
    assert len(oracle.end_order) == 9
    assert [entry["priors"] for entry in oracle.trust] == [{"plain": 1.0}] * 3
    assert "Please report" not in caplog.text


def test_folders_are_read_one_by_one(tmp_path, caplog):
    (tmp_path / "good").mkdir()
    (tmp_path / "none").mkdir()
    searched(tmp_path / "good", None)
    oracle = searched(tmp_path, [tmp_path / "none", tmp_path / "good"])
    assert len(oracle.used_tasks) == 1
    assert "Left out of the past searches" in caplog.text
    assert "Please report" not in caplog.text


def test_past_values_of_another_kind_are_left_out(tmp_path, caplog):
    path = tmp_path / "pool.sqlite"
    hp = keras_tuner.HyperParameters()
    hp.Float("b", 0.0, 1.0)
    trials = [{"values": {"a": "x", "b": 0.1 * n}, "score": 0.1 * n} for n in range(5)]
    hp.Fixed("a", "x")
    ExperiencePool(path).add("old", hp, trials, OBJECTIVE)
    oracle = searched(tmp_path, path, 3, learn=False)
    assert len(oracle.end_order) == 3
    assert "trials with values that the space has not" in caplog.text
    assert "Please report" not in caplog.text


@pytest.mark.parametrize("fixed", [False, True])
def test_a_space_with_nothing_to_search(tmp_path, caplog, fixed):
    hp = keras_tuner.HyperParameters()
    if fixed:
        hp.Fixed("a", 3)
    oracle = MetaOracle(OBJECTIVE, max_trials=5, hyperparameters=hp, seed=0)
    oracle.verbose = 0
    oracle._set_project_dir(str(tmp_path), "search")
    trial = oracle.create_trial("tuner0")
    assert trial.hyperparameters.values == ({"a": 3} if fixed else {})
    assert "Please report" not in caplog.text


def test_a_trial_that_was_stopped_and_is_run_again_runs(tmp_path):
    oracle = MetaOracle(
        OBJECTIVE, max_trials=5, hyperparameters=space(), fidelity="epochs", seed=0
    )
    oracle.verbose = 0
    oracle._set_project_dir(str(tmp_path), "search")
    for scores in ([0.5, 0.6, 0.7], [0.6, 0.7, 0.8], [0.7, 0.8, 0.9]):
        trial = oracle.create_trial("w")
        for step, score in enumerate(scores):
            oracle.update_trial(trial.trial_id, {"val_score": score}, step)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    trial = oracle.create_trial("w")
    assert oracle.update_trial(trial.trial_id, {"val_score": 0.1}).status == "STOPPED"
    assert oracle.stopped == [trial.trial_id]
    # The worker is killed here, and started again.
    again = oracle.create_trial("w")
    assert (again.trial_id, again.status) == (trial.trial_id, "RUNNING")
    assert oracle.stopped == []
    assert not again.metrics.exists("val_score")
    # In another process, too; and it may be stopped again.
    oracle.update_trial(trial.trial_id, {"val_score": 0.1})
    other = MetaOracle(OBJECTIVE, max_trials=5, fidelity="epochs", seed=0)
    other.verbose = 0
    other._set_project_dir(str(tmp_path), "search")
    other.reload()
    again = other.create_trial("w")
    assert (again.trial_id, again.status) == (trial.trial_id, "RUNNING")
    assert other.update_trial(trial.trial_id, {"val_score": 0.1}).status == "STOPPED"


def test_a_tuner_that_reports_once_stops_nothing(tmp_path):
    oracle = searched(tmp_path, None, 8, fidelity="epochs")
    assert oracle.stopped == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task_name": 7}, "`task_name` must be a str"),
        ({"task_name": ""}, "`task_name` must be a str"),
        (
            {"objective": ["val_loss", "val_accuracy"], "fidelity": "epochs"},
            "`fidelity` needs one objective",
        ),
    ],
)
def test_what_it_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MetaOracle(**{"objective": OBJECTIVE} | arguments)


def test_an_empty_pool_is_named(tmp_path, caplog):
    searched(tmp_path, tmp_path / "typo.sqlite", 1)
    assert caplog.text.count("There is no past search yet in") == 1
    assert "typo.sqlite" in caplog.text


def test_a_rename_that_does_nothing_is_named(tmp_path, caplog):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path)
    searched(tmp_path, path, 1, project="next", rename={"a": "c"}, learn=False)
    assert "rename={'a': 'c'} does nothing" in caplog.text


def test_a_tuner_that_declares_its_space_while_it_runs(tmp_path, caplog):
    path = tmp_path / "pool.sqlite"
    searched(tmp_path, path)

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial):
            hp = trial.hyperparameters
            values = {name: hp.Float(name, 0.0, 1.0) for name in "ab"}
            return {"val_score": score_of(values)}

    oracle = MetaOracle(OBJECTIVE, max_trials=3, experience=path, seed=0)
    oracle.verbose = 0
    Tuner(oracle=oracle, directory=tmp_path, project_name="next").search()
    assert len(oracle.end_order) == 3
    assert len(oracle.used_tasks) == 1
    assert "None of" not in caplog.text
    assert "Please report" not in caplog.text
