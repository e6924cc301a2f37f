"""Collects from real searches, over models that are not trained."""

import builtins
import gc
import sys

import keras
import keras_tuner
import numpy as np
import pytest

# KerasTuner's own: threading.currentThread().
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

X = np.ones((4, 1), "float32")
TASKS = {"ones": {"x": X, "y": X}, "../twos": {"x": X, "y": 2 * X}}


@pytest.fixture(autouse=True)
def frozen_garbage():
    """KerasTuner collects garbage before each trial: a second, with all of Keras."""
    gc.freeze()
    yield
    gc.unfreeze()


class Constant(keras_tuner.HyperModel):
    """Predicts a constant: the loss is its squared distance from the targets."""

    stop_at = None

    def build(self, hp):
        if self.stop_at is not None:
            self.stop_at -= 1
            if self.stop_at == 0:
                raise KeyboardInterrupt
        hp.Float("value", 0.0, 3.0)
        return keras.Sequential([keras.Input((1,)), keras.layers.Flatten()])

    def fit(self, hp, model, **arguments):
        # Without Keras' fit, which takes seconds to trace for each trial.
        return float(np.mean((hp.get("value") - arguments["y"]) ** 2))


def test_each_task_is_searched_and_its_trials_are_kept(pool):
    objective = keras_tuner.Objective("loss", "min")
    report = pool.collect(Constant(), TASKS, 2, objective, seed=0, verbose=0)
    assert (report.tasks, report.added, report.skipped) == (list(TASKS), 4, [])
    for task, target in zip(pool.tasks(), (1.0, 2.0), strict=True):
        assert (task.objective, task.direction) == ("loss", "min")
        assert task.source is None
        assert [entry["config"]["name"] for entry in task.space] == ["value"]
        for trial in task.trials:
            distance = trial.values["value"] - target
            np.testing.assert_allclose(trial.score, distance**2, rtol=1e-5)
            assert 0.0 < trial.seconds < 60.0
    values = [t.values["value"] for task in pool.tasks() for t in task.trials]
    assert len(set(values)) == 4


def test_seed_repeats_the_searches(pool):
    values = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tasks = {name: TASKS["ones"]}
        pool.collect(Constant(), tasks, 1, "loss", seed=seed, verbose=0)
        values.append(pool.tasks()[-1].trials[0].values["value"])
    assert values[0] == values[1] != values[2]
    again = pool.collect(Constant(), {"a": TASKS["ones"]}, 1, "loss", seed=0, verbose=0)
    assert (again.added, again.unchanged) == (0, 1)


def test_interrupted_collection_keeps_what_ended_and_goes_on(pool, tmp_path):
    hypermodel = Constant()
    hypermodel.stop_at = 4  # The first build explores the space.
    arguments = dict(directory=tmp_path / "runs", seed=3, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        pool.collect(hypermodel, TASKS, 3, "loss", **arguments)
    statuses = [trial.status for trial in pool.tasks()[0].trials]
    assert statuses == ["COMPLETED", "COMPLETED", "RUNNING"]
    report = pool.collect(Constant(), TASKS, 3, "loss", **arguments)
    assert (report.added, report.updated, report.unchanged) == (3, 1, 2)
    trials = [trial for task in pool.tasks() for trial in task.trials]
    assert [trial.status for trial in trials] == ["COMPLETED"] * 6
    assert all(trial.seconds > 0.0 for trial in trials)
    assert str(tmp_path / "runs") in pool.tasks()[0].source


def test_folders_cannot_be_left_by_a_name(pool, tmp_path):
    pool.collect(
        Constant(), TASKS, 1, "loss", directory=tmp_path / "in" / "runs", verbose=0
    )
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["runs"]
    assert len(list((tmp_path / "in" / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {}}, "`tasks` must be a dict of task name"),
        ({"tasks": {"a": X}}, "`tasks` must be a dict of task name"),
        ({"trials": 0}, "`trials` must be an int >= 1. Received: trials=0"),
        ({"seed": -1}, "`seed` must be an int >= 0 or None. Received: seed=-1"),
    ],
)
def test_arguments_that_are_wrong_are_named(pool, arguments, message):
    arguments = {"tasks": TASKS, "trials": 1, "objective": "loss", **arguments}
    with pytest.raises(ValueError, match=message):
        pool.collect(Constant(), **arguments)
    assert len(pool) == 0


def test_missing_kerastuner_is_named(pool, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras_meta.tuner.collection", raising=False)
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "keras_tuner":
            raise ModuleNotFoundError("No module", name="keras_tuner")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match="run `pip install keras-tuner`"):
        pool.collect(Constant(), TASKS, 1, "loss")
