"""MetaOracle in real searches: what it uses, what it survives, what it repeats."""

import json
import logging

import keras_tuner
import matplotlib.image
import numpy as np
import pytest

from keras_meta.tuner import ExperiencePool, MetaOracle, MetaTuner

OBJECTIVE = keras_tuner.Objective("val_score", "max")
# But for the pool `filled`, whose prior is pretrained as in use.
pytestmark = pytest.mark.usefixtures("short_pretraining")


def declare(hp, names=("rate", "units")):
    hp.Float(names[0], 1e-4, 1e-1, sampling="log")
    hp.Int(names[1], 8, 256, sampling="log")
    if hp.Choice("kind", ["a", "b"]) == "a":
        with hp.conditional_scope("kind", ["a"]):
            hp.Float("dropout", 0.0, 0.9)


def score(values, shift=0.0):
    """A smooth surface whose best point moves with `shift`; at most 1."""
    rate, units = np.log10(values["rate"]) + 2.5 + shift, np.log2(values["units"]) - 6
    loss = rate**2 / 4 + units**2 / 20 + 0.1 * (values["kind"] == "b")
    return float(1.0 - loss - 0.2 * (values.get("dropout", 0.5) - 0.3) ** 2)


class Search(keras_tuner.Tuner):
    """A tuner of a function, in the place of a model's training."""

    def __init__(self, oracle, function=score, **kwargs):
        self.function = function
        oracle.verbose = 0
        super().__init__(oracle=oracle, hypermodel=HyperModel(), **kwargs)

    def run_trial(self, trial, **arguments):
        declare(trial.hyperparameters)
        return {"val_score": self.function(trial.hyperparameters.values, **arguments)}


class HyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        declare(hp)


def scores_of(oracle):
    return [oracle.trials[i].score for i in oracle.start_order]


def values_of(oracle):
    return [oracle.trials[i].hyperparameters.values for i in oracle.start_order]


@pytest.fixture(scope="module")
def old_searches(tmp_path_factory):
    """A folder with four random searches of related surfaces."""
    folder = tmp_path_factory.mktemp("old")
    for index in range(4):
        oracle = keras_tuner.oracles.RandomSearchOracle(
            OBJECTIVE, max_trials=20, seed=index + 1
        )
        tuner = Search(oracle, directory=folder, project_name=f"old_{index}")
        tuner.search(shift=0.1 * index)
    return folder


@pytest.fixture(scope="module")
def filled(old_searches, tmp_path_factory):
    """The path of a pool with these searches, its prior pretrained already."""
    path = tmp_path_factory.mktemp("pool") / "experience.sqlite"
    ExperiencePool(path).import_project(old_searches)
    run(tmp_path_factory.mktemp("first"), path, max_trials=2, learn=False)
    return path


def run(folder, experience, function=score, shift=0.2, project_name="new", **kwargs):
    kwargs = {"max_trials": 6, "seed": 0} | kwargs
    oracle = MetaOracle(OBJECTIVE, experience=experience, **kwargs)
    Search(oracle, function, directory=folder, project_name=project_name).search(
        shift=shift
    )
    return oracle


# ---- what it is for -----------------------------------------------------------------


def test_a_past_makes_the_first_trials_good(tmp_path, filled):
    warm = run(tmp_path / "warm", filled, max_trials=4, learn=False)
    colds = [run(tmp_path / f"cold{s}", None, max_trials=4, seed=s) for s in range(3)]
    assert max(scores_of(warm)) > 0.95
    assert max(scores_of(warm)) > np.mean([max(scores_of(cold)) for cold in colds])


def test_without_a_past_it_is_a_bayesian_optimizer(tmp_path):
    bests = {"ours": [], "random": []}
    for seed in range(3):
        oracle = run(tmp_path / f"{seed}", None, max_trials=16, seed=seed)
        bests["ours"].append(max(scores_of(oracle)))
        oracle = keras_tuner.oracles.RandomSearchOracle(
            OBJECTIVE, max_trials=16, seed=seed + 1
        )
        tuner = Search(oracle, directory=tmp_path, project_name=f"random{seed}")
        tuner.search(shift=0.2)
        bests["random"].append(max(scores_of(oracle)))
    assert np.mean(bests["ours"]) > 0.97
    assert np.mean(bests["ours"]) > np.mean(bests["random"])


def test_a_folder_of_projects_is_experience(tmp_path, old_searches):
    oracle = run(tmp_path, old_searches, max_trials=2)
    assert len(oracle.used_tasks) == 4
    assert (tmp_path / "new" / "experience.sqlite").exists()


def test_each_search_makes_the_pool_better(tmp_path, filled):
    copy = tmp_path / "pool.sqlite"
    copy.write_bytes(filled.read_bytes())
    run(tmp_path, copy, max_trials=3, task_name="shop 5")
    task = next(t for t in ExperiencePool(copy).tasks() if t.name == "shop 5")
    assert len(task.trials) == 3
    assert all(0.0 < trial.seconds < 60.0 for trial in task.trials)
    assert (task.objective, task.direction) == ("val_score", "max")
    oracle = run(tmp_path, copy, max_trials=1, project_name="next", learn=False)
    assert "shop 5" in oracle.used_tasks
    assert len(ExperiencePool(copy)) == 5


def test_a_minimised_objective(tmp_path):
    path = tmp_path / "pool.sqlite"
    objective = keras_tuner.Objective("val_loss", "min")

    class Losses(Search):
        def run_trial(self, trial, shift=0.0):
            declare(trial.hyperparameters)
            return {"val_loss": 5.0 - 3.0 * score(trial.hyperparameters.values, shift)}

    for index in range(3):
        oracle = keras_tuner.oracles.RandomSearchOracle(
            objective, max_trials=15, seed=index + 1
        )
        Losses(oracle, directory=tmp_path / "old", project_name=f"{index}").search()
    ExperiencePool(path).import_project(tmp_path / "old")
    oracle = MetaOracle(objective, max_trials=4, experience=path, seed=0)
    Losses(oracle, directory=tmp_path, project_name="new").search(shift=0.1)
    assert min(scores_of(oracle)) < 2.3


def test_it_says_which_past_it_trusts(tmp_path, filled):
    oracle = run(tmp_path, filled, max_trials=5, learn=False)
    assert [entry["trial_id"] for entry in oracle.trust] == ["1", "2", "3", "4"]
    for entry in oracle.trust:
        assert sum(entry["priors"].values()) == pytest.approx(1.0)
        assert list(entry["tasks"]) == oracle.used_tasks
    oracle.save_trust_plot(tmp_path / "trust.png")
    picture = matplotlib.image.imread(tmp_path / "trust.png")
    assert picture.shape[1] == 1200
    # The priors' areas have colours of their own.
    colours = np.unique(picture[:, :, :3].reshape(-1, 3).round(2), axis=0)
    assert len(colours) > 10


def test_trust_without_a_past(tmp_path):
    oracle = run(tmp_path, None, max_trials=2)
    with pytest.raises(ValueError, match="nothing|no trust"):
        oracle.save_trust_plot(tmp_path / "trust.png")
    oracle = run(tmp_path, None, max_trials=8, project_name="longer")
    with pytest.raises(ValueError, match="existing folder"):
        oracle.save_trust_plot(tmp_path / "none" / "trust.png")
    oracle.save_trust_plot(tmp_path / "trust.png")
    assert [entry["priors"] for entry in oracle.trust] == [{"plain": 1.0}] * 2


# ---- what it repeats ----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_repeats_a_search(tmp_path, filled, seed):
    first, second = (
        run(tmp_path / name, filled, seed=seed, learn=False) for name in "ab"
    )
    assert values_of(first) == values_of(second)
    assert first.seed == seed
    other = run(tmp_path / "c", filled, seed=seed + 1, learn=False)
    assert values_of(other) != values_of(first)


def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(tmp_path, filled):
    whole = run(tmp_path / "whole", filled, max_trials=6, learn=False)
    copy = tmp_path / "pool.sqlite"
    copy.write_bytes(filled.read_bytes())
    run(tmp_path / "parts", copy, max_trials=3)
    # In between another search fills the pool; this one does not notice.
    run(tmp_path / "other", copy, max_trials=3, seed=5)
    resumed = run(tmp_path / "parts", copy, max_trials=6)
    assert values_of(resumed) == values_of(whole)
    assert resumed.trust == whole.trust


def test_values_are_plain_python_and_never_twice(tmp_path, filled):
    oracle = run(tmp_path, filled, max_trials=12, learn=False)
    for values in values_of(oracle):
        assert all(type(v) in (str, int, float, bool) for v in values.values())
    assert len({json.dumps(v) for v in values_of(oracle)}) == 12


def test_one_name_in_two_scopes(tmp_path):
    class Scopes(keras_tuner.HyperModel):
        def build(self, hp):
            kind = hp.Choice("kind", ["small", "large"])
            with hp.conditional_scope("kind", ["small"]):
                if kind == "small":
                    hp.Int("units", 1, 9)
            with hp.conditional_scope("kind", ["large"]):
                if kind == "large":
                    hp.Int("units", 100, 999)

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial):
            self.hypermodel.build(trial.hyperparameters)
            values = trial.hyperparameters.values
            low, high = (1, 9) if values["kind"] == "small" else (100, 999)
            assert low <= values["units"] <= high
            return {"val_score": -abs(values["units"] - 500.0)}

    oracle = MetaOracle(OBJECTIVE, max_trials=14, seed=0)
    oracle.verbose = 0
    Tuner(oracle=oracle, hypermodel=Scopes(), directory=tmp_path).search()
    assert len(oracle.end_order) == 14
    assert max(scores_of(oracle)) > -60.0


# ---- what it survives ---------------------------------------------------------------


def test_failed_trials_and_scores_that_are_not_finite(tmp_path, filled):
    calls = []

    def sometimes(values, shift):
        calls.append(values)
        if len(calls) == 2:
            raise keras_tuner.errors.FailedTrialError("out of memory")
        return {3: float("nan"), 4: float("inf")}.get(len(calls), score(values, shift))

    oracle = run(tmp_path, filled, sometimes, max_trials=7, learn=False)
    statuses = [oracle.trials[i].status for i in oracle.start_order]
    assert statuses.count("FAILED") == 2
    assert len(statuses) == 7
    finite = [s for s in scores_of(oracle) if s is not None and np.isfinite(s)]
    assert max(finite) > 0.9


def test_trials_that_run_at_the_same_time_differ(tmp_path, filled):
    oracle = MetaOracle(
        OBJECTIVE, max_trials=20, experience=filled, learn=False, seed=0
    )
    Search(oracle, directory=tmp_path, project_name="new")
    first = oracle.create_trial("a")
    oracle.update_trial(first.trial_id, {"val_score": 0.5})
    first.status = "COMPLETED"
    oracle.end_trial(first)
    running = [oracle.create_trial(f"worker {i}") for i in range(5)]
    assert len({json.dumps(t.hyperparameters.values) for t in running}) == 5


def test_an_exhausted_space_ends_the_search(tmp_path):
    class Few(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Choice("kind", ["a", "b", "c"])

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial):
            return {"val_score": float(ord(trial.hyperparameters.values["kind"]))}

    oracle = MetaOracle(OBJECTIVE, max_trials=10, seed=0)
    oracle.verbose = 0
    Tuner(oracle=oracle, hypermodel=Few(), directory=tmp_path).search()
    assert sorted(v["kind"] for v in values_of(oracle)) == ["a", "b", "c"]


def test_a_fault_in_the_priors_does_not_stop_the_search(
    tmp_path, filled, monkeypatch, caplog
):
    from keras_meta.tuner.suggestions import Suggestions

    def broken(*args):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Suggestions, "next_point", broken)
    with caplog.at_level(logging.ERROR):
        oracle = run(tmp_path, filled, max_trials=3, learn=False)
    assert len(oracle.end_order) == 3
    assert "its values are random" in caplog.text
    assert "planted" in caplog.text


def test_a_pool_that_cannot_be_written(tmp_path, filled, caplog):
    copy = tmp_path / "pool.sqlite"
    copy.write_bytes(filled.read_bytes())
    pool = ExperiencePool(copy, read_only=True)
    with caplog.at_level(logging.WARNING):
        oracle = run(tmp_path, pool, max_trials=3)
    assert len(oracle.end_order) == 3
    assert caplog.text.count("Nothing more of this search goes to the pool") == 1
    assert len(ExperiencePool(copy)) == 4


def test_a_task_name_of_another_objective(tmp_path, caplog):
    path = tmp_path / "pool.sqlite"
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-4, 1e-1)
    trials = [{"values": {"rate": 0.01}, "score": 0.5}]
    ExperiencePool(path).add("shop", space, trials, "val_loss", "min")
    with caplog.at_level(logging.WARNING):
        oracle = run(tmp_path, path, max_trials=2, task_name="shop")
    assert len(oracle.end_order) == 2
    assert caplog.text.count("Nothing more of this search goes to the pool") == 1


def test_killed_between_two_files(tmp_path, filled):
    """What a kill leaves: a begun trial that the oracle's own file does not know."""
    run(tmp_path, filled, max_trials=3, learn=False)
    stray = tmp_path / "new" / "trial_3" / "trial.json"
    stray.parent.mkdir()
    text = json.loads((tmp_path / "new" / "trial_2" / "trial.json").read_text())
    text |= {"trial_id": "3", "status": "RUNNING", "score": None}
    stray.write_text(json.dumps(text))
    oracle = run(tmp_path, filled, max_trials=5, learn=False)
    assert len(oracle.end_order) == len(set(oracle.end_order)) == 5
    # Or a finished one that it still lists as running.
    saved = tmp_path / "new" / "oracle.json"
    state = json.loads(saved.read_text())
    last = state["end_order"].pop()
    state["ongoing_trials"] = {"tuner0": last}
    saved.write_text(json.dumps(state))
    oracle = run(tmp_path, filled, max_trials=6, learn=False)
    assert len(oracle.end_order) == len(set(oracle.end_order)) == 6


# ---- what it refuses, and what it goes on without -----------------------------------


def test_a_past_that_has_nothing_to_do_with_it(tmp_path, filled, caplog):
    oracle = MetaOracle(
        keras_tuner.Objective("val_auc", "max"),
        max_trials=2,
        experience=filled,
        learn=False,
        seed=0,
    )

    class Auc(Search):
        def run_trial(self, trial):
            return {"val_auc": score(trial.hyperparameters.values)}

    tuner = Auc(oracle, directory=tmp_path)
    tuner.search()
    assert "None of 4 past searches" in caplog.text
    assert "val_score (max)" in caplog.text
    assert len(oracle.end_order) == 2


def test_a_space_with_nothing_in_common(tmp_path, filled, caplog):
    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial):
            return {"val_score": trial.hyperparameters.values["depth"]}

    class Other(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Float("depth", 0.0, 1.0)

    oracle = MetaOracle(OBJECTIVE, max_trials=2, experience=filled, seed=0, learn=False)
    oracle.verbose = 0
    tuner = Tuner(oracle=oracle, hypermodel=Other(), directory=tmp_path)
    tuner.search()
    assert "share no hyperparameter" in caplog.text
    assert "'depth'" in caplog.text


def test_a_hyperparameter_under_another_name(tmp_path, filled):
    class Renamed(keras_tuner.HyperModel):
        def build(self, hp):
            declare(hp, ("lr", "units"))

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial):
            values = trial.hyperparameters.values
            return {"val_score": score({**values, "rate": values["lr"]}, 0.2)}

    oracle = MetaOracle(
        OBJECTIVE,
        max_trials=4,
        experience=filled,
        rename={"rate": "lr"},
        seed=0,
        learn=False,
    )
    oracle.verbose = 0
    Tuner(oracle=oracle, hypermodel=Renamed(), directory=tmp_path).search()
    assert max(scores_of(oracle)) > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "Argument `seed`"),
        ({"seed": True}, "Argument `seed`"),
        ({"seed": 1.0}, "Argument `seed`"),
        ({"max_trials": 0}, "Argument `max_trials`"),
        ({"rename": ["a"]}, "Argument `rename` must be a dict"),
        ({"rename": {"a": "c", "b": "c"}}, "must not give one name"),
        ({"experience": "no_such_folder"}, "Argument `experience`"),
        ({"experience": []}, "Argument `experience`"),
        ({"experience": ["no_such_folder"]}, "must name folders that exist"),
        ({"experience": 3}, "Argument `experience`"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        MetaOracle(OBJECTIVE, **arguments)


# ---- MetaTuner ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:MetaTuner ignores", "ignore:Skipping variable")
def test_meta_tuner_takes_the_place_of_bayesian_optimization(
    tmp_path, filled, quick_trials
):
    import keras

    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.Dense(hp.Int("units", 8, 256, sampling="log"), "relu"),
                keras.layers.Dense(1),
            ]
        )
        rate = hp.Float("rate", 1e-4, 1e-1, sampling="log")
        model.compile(keras.optimizers.Adam(rate), "mse", jit_compile=False)
        return model

    tuner = MetaTuner(
        build,
        objective="val_loss",
        max_trials=2,
        num_initial_points=3,
        seed=0,
        directory=tmp_path,
        project_name="model",
    )
    tuner.oracle.verbose = 0
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    tuner.search(x, x[:, :1], validation_split=0.25, epochs=1, verbose=0)
    assert tuner.get_best_models()[0].predict(x, verbose=0).shape == (64, 1)


def test_meta_tuner_says_what_it_ignores():
    with pytest.warns(UserWarning, match="ignores num_initial_points, beta"):
        MetaTuner(HyperModel(), OBJECTIVE, num_initial_points=3, beta=2.0)
