import io
import json
import multiprocessing
import pickle
import threading

import keras_tuner
import numpy as np
import pytest

from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_records import ImportReport, PastTrial
from keras_meta.tuner.pool_schema import PoolError


def parameter(name, class_name="Float", **config):
    config = {"name": name, "default": None, "conditions": [], **config}
    return {"class_name": class_name, "config": config}


RATE = parameter("rate", min_value=0.1, max_value=1.0, step=None, sampling="log")
FLAG = parameter("flag", "Boolean")
TRIAL = {"values": {"rate": 0.5, "flag": True}, "score": 0.75}


@pytest.fixture
def pool(tmp_path):
    with ExperiencePool(tmp_path / "pool.sqlite") as pool:
        yield pool


def add(pool, trials=(TRIAL,), name="digits", space=(RATE, FLAG), **arguments):
    arguments = {"objective": "val_accuracy", **arguments}
    return pool.add(name, list(space), list(trials), **arguments)


def test_what_is_added_is_read_back_from_the_file(pool):
    trial = PastTrial(
        values={"rate": 0.5, "flag": True, "name": "é\ud800", "units": 8},
        score=0.75,
        status="COMPLETED",
        trial_id="03",
        best_step=2,
        seconds=1.5,
        message="was fine",
        metrics={
            "val_accuracy": {
                "direction": "max",
                "observations": [[1, 0.5], [2, 0.75], [3, None]],
            }
        },
    )
    description = {"rows": 1797.0, "classes": 10.0}
    add(pool, [trial], description=description, source="notes of May")
    [task] = ExperiencePool(pool.path, read_only=True).tasks()
    assert task.trials == [trial]
    assert (task.name, task.source) == ("digits", "notes of May")
    assert (task.objective, task.direction) == ("val_accuracy", "max")
    assert task.description == description
    assert task.space == [RATE, FLAG]


def test_trials_of_dicts_get_plain_values(pool):
    metrics = {
        "loss": {"direction": "min", "observations": [(1, np.float32(0.5)), (0, 2)]}
    }
    values = {"rate": np.float32(0.5), "flag": np.bool_(True), "units": np.int64(3)}
    add(pool, [{"values": values, "score": np.float64(0.25), "metrics": metrics}])
    [trial] = pool.tasks()[0].trials
    assert trial.values == {"rate": 0.5, "flag": True, "units": 3}
    assert list(map(type, trial.values.values())) == [float, bool, int]
    assert (trial.score, trial.status) == (0.25, "COMPLETED")
    assert trial.metrics["loss"]["observations"] == [[0, 2.0], [1, 0.5]]


def test_added_again_doubles_nothing_and_appends_what_is_new(pool):
    first, second = TRIAL, {"values": {"rate": 0.9, "flag": False}, "score": 0.5}
    assert add(pool, [first]) == ImportReport(["digits"], added=1)
    assert add(pool, [first, second]) == ImportReport(["digits"], added=1, unchanged=1)
    assert add(pool, [second, first]) == ImportReport(["digits"], unchanged=2)
    assert [trial.score for trial in pool.tasks()[0].trials] == [0.75, 0.5]
    assert add(pool, [first], name="other").added == 1
    assert (len(pool), pool.num_trials) == (2, 3)


def test_one_configuration_that_was_run_twice_is_two_trials(pool):
    assert add(pool, [TRIAL, TRIAL]).added == 2
    assert add(pool, [TRIAL, TRIAL]).unchanged == 2
    assert add(pool, [TRIAL, TRIAL, TRIAL]).added == 1
    assert pool.num_trials == 3


def test_trial_with_an_id_goes_on_in_its_row(pool):
    running = {"values": {"rate": 0.5}, "trial_id": "0", "status": "RUNNING"}
    ended = {**running, "status": "COMPLETED", "score": 0.5}
    timed = {**ended, "seconds": 2.5}
    assert add(pool, [running]).added == 1
    assert add(pool, [ended]).updated == 1
    assert add(pool, [timed]).unchanged == 1
    assert add(pool, [running]).unchanged == 1
    [trial] = pool.tasks()[0].trials
    assert (trial.status, trial.score, trial.seconds) == ("COMPLETED", 0.5, 2.5)


def test_trials_of_one_id_that_are_seen_at_once_are_two(pool):
    observed = [[0, 0.5], [1, 0.25]]
    short, long = (
        {
            **TRIAL,
            "trial_id": "0",
            "metrics": {"loss": {"direction": "min", "observations": steps}},
        }
        for steps in (observed[:1], observed)
    )
    add(pool, [short])
    assert add(pool, [short, long]) == ImportReport(["digits"], added=1, unchanged=1)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_not_finite_is_none_with_the_reason(pool, score):
    given = {"values": {"rate": 0.5}, "score": score, "message": "diverged"}
    add(pool, [given])
    [trial] = pool.tasks()[0].trials
    assert (trial.score, trial.status) == (None, "FAILED")
    assert trial.message == f"diverged\nThe score was {score}."
    assert add(pool, [given]).unchanged == 1
    assert add(pool, [trial]).unchanged == 1


def test_space_of_keras_tuner_comes_back_with_its_conditions(pool):
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["dense", "conv"])
    with hp.conditional_scope("kind", ["conv"]):
        hp.Int("filters", 8, 64, step=8)
    with hp.conditional_scope("kind", ["dense"]):
        hp.Int("filters", 1, 4)
    pool.add("a", hp, [], "val_loss")
    config = {"space": pool.tasks()[0].space, "values": {}}
    restored = keras_tuner.HyperParameters.from_config(config)
    assert restored.get_config()["space"] == hp.get_config()["space"]


def test_space_of_a_task_grows(pool):
    add(pool, space=[RATE])
    wider = parameter("rate", min_value=0.1, max_value=9.0, step=None, sampling="log")
    inner = {"class_name": "Parent", "config": {"name": "flag", "values": [True]}}
    other = parameter("rate", "Boolean", conditions=[inner])
    add(pool, space=[FLAG, wider, other])
    assert pool.tasks()[0].space == [wider, FLAG, other]


def test_later_facts_are_kept_with_no_trials(pool):
    add(pool)
    add(pool, [], description={"rows": 3}, source="here")
    add(pool, [])
    [task] = pool.tasks()
    assert (task.description, task.source) == ({"rows": 3.0}, "here")
    assert len(task.trials) == 1


def test_direction_comes_from_the_objective_the_task_or_the_name(pool):
    add(pool, objective=keras_tuner.Objective("gain", "max"), name="a")
    add(pool, objective="gain", name="a")
    add(pool, objective="val_my_loss", name="b")
    add(pool, objective="gain", direction="min", name="c")
    assert [task.direction for task in pool.tasks()] == ["max", "min", "min"]
    with pytest.raises(ValueError, match="'gain' is to fall or to rise.*`direction=`"):
        add(pool, objective="gain", name="d")
    assert len(pool) == 3


def test_task_of_another_objective_is_refused_and_nothing_is_written(pool):
    add(pool)
    other = {"values": {"rate": 0.1}, "score": 0.1}
    with pytest.raises(ValueError, match="'digits' has the objective 'val_accuracy'"):
        add(pool, [other], objective="val_loss")
    with pytest.raises(ValueError, match=r"\(max\).*Received: .*direction='min'"):
        add(pool, [other], direction="min")
    assert pool.num_trials == 1


def test_tasks_of_an_objective(pool):
    add(pool, name="a")
    add(pool, name="b", objective="val_loss")
    add(pool, name="c", objective="val_loss", direction="max")
    names = [task.name for task in pool.tasks("val_loss")]
    assert names == ["b", "c"]
    [task] = pool.tasks(keras_tuner.Objective("val_loss", "max"))
    assert task.name == "c"
    assert pool.tasks("other") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "Argument `name` must be a str that is not empty"),
        ({"space": [{"config": {}}]}, "Each parameter of a search space must be"),
        ({"trials": [3]}, "A trial must be a PastTrial or a dict. Received: 3"),
        ({"trials": [{"score": 1.0}]}, "A trial must have `values`"),
        ({"trials": [{**TRIAL, "socre": 1}]}, "and may have score, status"),
        ({"trials": [{**TRIAL, "score": "1"}]}, "`score` must be a number or None"),
        ({"trials": [{**TRIAL, "score": True}]}, "`score` must be a number or None"),
        ({"trials": [{**TRIAL, "status": "DONE"}]}, "`status` must be one of"),
        ({"trials": [{**TRIAL, "seconds": -1}]}, "`seconds` must be >= 0"),
        ({"trials": [{**TRIAL, "best_step": 1.5}]}, "`best_step` must be a whole"),
        ({"trials": [{**TRIAL, "metrics": {"a": [1]}}]}, "Received: a=\\[1\\]"),
        ({"trials": [{"values": {"a": float("nan")}}]}, "must be plain and finite"),
        ({"trials": [{"values": {"a": {1}}}]}, "must be plain and finite"),
        ({"objective": 3}, "Argument `objective` must be a metric's name"),
        ({"objective": None}, "Argument `objective` must be a metric's name"),
        ({"direction": "up"}, "direction must be 'min' or 'max'"),
        ({"description": {"rows": None}}, "must be finite numbers"),
        ({"description": [1.0]}, "must be a dict of feature name"),
    ],
)
def test_arguments_that_are_wrong_are_named(pool, arguments, message):
    with pytest.raises(ValueError, match=message):
        add(pool, **arguments)
    assert len(pool) == 0


def test_what_was_computed_is_kept_the_last_eight(pool):
    assert pool.cached("prior") is None
    for i in range(9):
        pool.keep(f"prior {i}", bytes([i]) * 100_000)
    pool.keep("prior 1", b"new")
    pool.keep("prior 9", b"\0")
    assert pool.cached("prior 1") == b"new"
    assert pool.cached("prior 9") == b"\0"
    kept = [i for i in range(10) if pool.cached(f"prior {i}") is not None]
    assert kept == [1, 3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="`value` must be bytes. Received: key='a'"):
        pool.keep("a", "text")


def test_room_of_what_is_no_longer_kept_goes_back_to_the_disk(pool):
    pool.keep("big", bytes(3_000_000))
    assert pool.path.stat().st_size > 3_000_000
    pool.keep("big", b"")
    assert pool.path.stat().st_size < 300_000


def test_export_writes_a_line_for_each_trial(pool, tmp_path):
    failed = {"values": {"rate": 0.2}, "score": float("nan"), "trial_id": "7"}
    add(pool, [TRIAL, failed], description={"rows": 5})
    add(pool, name="empty", trials=[])
    text = io.StringIO()
    assert pool.export(text) == 2
    file = tmp_path / "trials.jsonl"
    assert pool.export(file) == 2
    assert file.read_text() == text.getvalue()
    first, second = map(json.loads, file.read_text().splitlines())
    assert first["task"] == "digits"
    assert (first["objective"], first["direction"]) == ("val_accuracy", "max")
    assert (first["values"], first["score"]) == (TRIAL["values"], 0.75)
    assert (first["description"], first["space"]) == ({"rows": 5.0}, [RATE, FLAG])
    assert (second["trial_id"], second["score"]) == ("7", None)
    with pytest.raises(ValueError, match="must not be the pool's own file"):
        pool.export(str(pool.path))
    assert pool.num_trials == 2


def test_pool_is_used_from_threads_and_after_pickling(pool):
    add(pool)
    pool = pickle.loads(pickle.dumps(pool))
    faults = []

    def work(i):
        try:
            add(pool, [{"values": {"rate": i}, "score": i}])
            pool.tasks()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert pool.num_trials == 9


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"
)
# Python 3.12 and later: TensorFlow's threads make any fork suspect.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_pool_is_used_on_after_a_fork(pool):
    add(pool)
    child = multiprocessing.get_context("fork").Process(
        target=add, args=(pool, [{"values": {"rate": 0.25}, "score": 1.0}])
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert add(pool, [{"values": {"rate": 0.125}, "score": 1.0}]).added == 1
    assert pool.num_trials == 3


def test_pool_is_used_without_keras_and_kerastuner(pool, run_python):
    add(pool)
    # The process has none of them: importing one of them would fail.
    code = "print(ExperiencePool(sys.argv[1]).num_trials, sys.modules['keras_tuner'])"
    assert run_python(code, pool.path) == "1 None\n"


def test_pool_that_is_closed_or_read_only_says_so(pool):
    reader = ExperiencePool(pool.path, read_only=True)
    for write in (add, lambda pool: pool.keep("a", b"")):
        with pytest.raises(PoolError, match="opened with read_only=True"):
            write(reader)
    with reader as same:
        assert same is reader and reader and len(reader) == 0
    with pytest.raises(PoolError, match="was closed"):
        reader.tasks()


@pytest.mark.parametrize("path", ["", ":memory:", 3, None])
def test_path_that_is_no_file_is_refused(path):
    with pytest.raises(ValueError, match="Argument `path` must name a file"):
        ExperiencePool(path)


def test_pool_stays_where_it_is_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool = ExperiencePool("pool.sqlite")
    monkeypatch.chdir("/")
    add(pool)
    assert (tmp_path / "pool.sqlite").is_file()
    assert str(tmp_path) in repr(pool)
