"""The searches that MetaOracle stands beside on LCBench, each with `ask` and `tell`.

KerasTuner's oracles are driven as a tuner drives them. Optuna's and syne-tune's
samplers are their own code, at their own defaults. Two of syne-tune's methods need a
hand:

- zero-shot (Wistuba, Schilling & Schmidt-Thieme 2015): 0.16 orders configurations in
  `get_config`, which its scheduler never calls, and its own imputing of scores fails.
  Here its pipeline imputes every task's scores on one shared set of 10,000
  configurations, and its `get_config` orders these.
- RUSH (Zappella, Salinas & Archambeau 2021, arXiv:2103.16111) was removed from 0.16.
  At full fidelity it is: the best configuration of every past task, in random order,
  then random search; written here.
"""

import contextlib
import io
import logging

import keras_tuner
import numpy as np
from lcbench_tables import PARAMETERS, hyperparameters

import keras_meta

TRIALS = 50
OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
NAMES = [name for name, *_ in PARAMETERS]
ZERO_SHOT_CANDIDATES = 10_000


class Past:
    """What was searched before, as each method wants it.

    Args:
        tasks: list of `(name, rows of values as dicts, scores)`.
        pool: `ExperiencePool` of the same.
        seed: int.

    Attributes:
        kept: dict, what a method has learned of it.
    """

    def __init__(self, tasks, pool, seed):
        self.tasks, self.pool, self.seed = tasks, pool, seed
        self.kept = {}


class OracleSearch:
    """A KerasTuner oracle.

    Args:
        oracle: `keras_tuner.Oracle`.
        folder: str, new.
    """

    def __init__(self, oracle, folder):
        self.oracle = oracle
        oracle.verbose = 0
        oracle._set_project_dir(folder, "search")

    def ask(self):
        self.trial = self.oracle.create_trial("tuner")
        return self.trial.hyperparameters.values

    def tell(self, score):
        self.oracle.update_trial(self.trial.trial_id, {OBJECTIVE.name: score})
        self.trial.status = "COMPLETED"
        self.oracle.end_trial(self.trial)


def _oracle_settings():
    """Returns what all oracles are made with; a search never comes to their end."""
    return {
        "objective": OBJECTIVE,
        "max_trials": 10 * TRIALS,
        "hyperparameters": hyperparameters(),
    }


def meta_oracle(past, seed, folder):
    oracle = keras_meta.tuner.MetaOracle(
        experience=past.pool, seed=seed, learn=False, **_oracle_settings()
    )
    return OracleSearch(oracle, folder)


def random_search(past, seed, folder):
    # KerasTuner takes the seed 0 for none.
    oracle = keras_tuner.oracles.RandomSearchOracle(seed=seed + 1, **_oracle_settings())
    return OracleSearch(oracle, folder)


def bayesian_optimization(past, seed, folder):
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        seed=seed + 1, **_oracle_settings()
    )
    return OracleSearch(oracle, folder)


def bayesian_optimization_fast(past, seed, folder):
    """As `bayesian_optimization`, with its regressor's prediction of one row in NumPy.

    It asks scikit-learn for thousands of single rows a suggestion, where checks of
    arguments take nearly all the time. The arithmetic is the same.
    """
    search = bayesian_optimization(past, seed, folder)
    search.oracle.gpr = _one_row_regressor(search.oracle.gpr)
    return search


def _one_row_regressor(like):
    """Returns a regressor with the settings of `like`, quick at single rows."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    class OneRowRegressor(GaussianProcessRegressor):
        def fit(self, x, y):
            super().fit(x, y)
            self._inverse = np.linalg.inv(self.L_)
            self._scaled = self.X_train_ / self.kernel_.length_scale
            return self

        def predict(self, x, return_std=False, return_cov=False):
            if len(x) != 1 or not return_std:
                return super().predict(x, return_std, return_cov)
            apart = self._scaled - x / self.kernel_.length_scale
            r = np.sqrt(5.0 * np.einsum("ij,ij->i", apart, apart))
            across = (1.0 + r + r * r / 3.0) * np.exp(-r)
            half = self._inverse @ across
            mean = across @ self.alpha_ * self._y_train_std + self._y_train_mean
            deviation = np.sqrt(max(1.0 - half @ half, 0.0)) * self._y_train_std
            return np.atleast_1d(mean), np.atleast_1d(deviation)

    return OneRowRegressor(**like.get_params(deep=False))


class OptunaSearch:
    """Optuna's TPE sampler, at its defaults."""

    def __init__(self, seed):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )

    def ask(self):
        self.trial = self.study.ask()
        return {
            name: getattr(self.trial, f"suggest_{kind.lower()}")(
                name, low, high, log=sampling == "log"
            )
            for name, kind, low, high, sampling in PARAMETERS
        }

    def tell(self, score):
        self.study.tell(self.trial, score)


def optuna_tpe(past, seed, folder):
    return OptunaSearch(seed)


class Listed:
    """Configurations in an order fixed before, then random ones.

    Args:
        configurations: list of dicts of values.
        seed: int.
    """

    def __init__(self, configurations, seed):
        self.left = list(configurations)
        self.generator = np.random.RandomState(seed)

    def ask(self):
        if self.left:
            return self.left.pop(0)
        drawn = hyperparameters().space
        return {
            hp.name: hp.random_sample(self.generator.randint(2**31)) for hp in drawn
        }

    def tell(self, score):
        """Nothing is learned from it."""


def rush(past, seed, folder):
    best = [rows[int(np.argmax(scores))] for _, rows, scores in past.tasks]
    order = np.random.default_rng(seed).permutation(len(best))
    return Listed([best[index] for index in order], seed)


def zero_shot(past, seed, folder):
    if "zero_shot" not in past.kept:
        past.kept["zero_shot"] = _zero_shot_order(past)
    return Listed(past.kept["zero_shot"], seed)


def _zero_shot_order(past):
    """Returns syne-tune's order of imputed configurations, best first."""
    import pandas
    import xgboost
    from syne_tune.blackbox_repository.blackbox_surrogate import BlackboxSurrogate
    from syne_tune.optimizer.schedulers.transfer_learning import zero_shot as theirs

    space = _syne_space()
    generator = np.random.RandomState(past.seed)
    shared = pandas.DataFrame(
        [
            {
                name: domain.sample(random_state=generator)
                for name, domain in space.items()
            }
            for _ in range(ZERO_SHOT_CANDIDATES)
        ]
    )
    imputed = {}
    for name, task in _syne_tasks(past).items():
        model = BlackboxSurrogate.make_model_pipeline(
            configuration_space=space,
            fidelity_space={},
            model=xgboost.XGBRegressor(n_jobs=1),
        )
        model.fit(
            task.hyperparameters, task.objective_values("loss").mean(axis=1).min(axis=1)
        )
        imputed[name] = _syne_task(shared.copy(), model.predict(shared))
    with _silence():
        scheduler = theirs.ZeroShotTransfer(
            space,
            "loss",
            imputed,
            do_minimize=True,
            sort_transfer_learning_evaluations=False,
            random_seed=0,
        )
    return [_python_values(scheduler.get_config()) for _ in range(TRIALS)]


class Suggesting:
    """What has syne-tune's `suggest`, and learns nothing from scores.

    Args:
        suggest: function without arguments to a configuration.
    """

    def __init__(self, suggest):
        self.suggest = suggest

    def ask(self):
        return _python_values(self.suggest())

    def tell(self, score):
        """Nothing is learned from it."""


def quantile(past, seed, folder):
    """Salinas, Shen & Perrone 2020, arXiv:1909.13595: a Gaussian copula over tasks."""
    from syne_tune.optimizer.schedulers.transfer_learning.quantile_based import (
        quantile_based_searcher,
    )

    if "quantile" not in past.kept:
        with _silence():
            past.kept["quantile"] = (
                quantile_based_searcher.QuantileBasedSurrogateSearcher(
                    _syne_space(), _syne_tasks(past), random_seed=past.seed
                )
            )
    searcher = past.kept["quantile"]
    searcher.random_state = np.random.RandomState(seed)
    return Suggesting(searcher.suggest)


def bounding_box(past, seed, folder):
    """Perrone et al. 2019, arXiv:1909.12552: random search in the box of past bests."""
    from syne_tune.optimizer.baselines import RandomSearch
    from syne_tune.optimizer.schedulers.transfer_learning import bounding_box as theirs

    def inside(space, metric, do_minimize, random_seed):
        return RandomSearch(
            space, [metric], do_minimize=do_minimize, random_seed=random_seed
        )

    with _silence():
        scheduler = theirs.BoundingBox(
            inside,
            _syne_space(),
            "loss",
            _syne_tasks(past),
            do_minimize=True,
            random_seed=seed,
        )
    return Suggesting(lambda: scheduler.suggest().config)


def _syne_space():
    from syne_tune import config_space

    made = {
        ("Int", "log"): config_space.lograndint,
        ("Int", "linear"): config_space.randint,
        ("Float", "log"): config_space.loguniform,
        ("Float", "linear"): config_space.uniform,
    }
    return {
        name: made[kind, sampling](low, high)
        for name, kind, low, high, sampling in PARAMETERS
    }


def _syne_tasks(past):
    import pandas

    return {
        name: _syne_task(pandas.DataFrame(rows)[NAMES], -np.asarray(scores))
        for name, rows, scores in past.tasks
    }


def _syne_task(hyperparameters_frame, losses):
    from syne_tune.optimizer.schedulers.transfer_learning import (
        transfer_learning_task_evaluation,
    )

    return transfer_learning_task_evaluation.TransferLearningTaskEvaluations(
        configuration_space=_syne_space(),
        hyperparameters=hyperparameters_frame,
        objectives_names=["loss"],
        objectives_evaluations=np.reshape(losses, (-1, 1, 1, 1)),
    )


def _python_values(configuration):
    kinds = {name: int if kind == "Int" else float for name, kind, *_ in PARAMETERS}
    return {name: kinds[name](configuration[name]) for name in NAMES}


@contextlib.contextmanager
def _silence():
    """Keeps syne-tune's prints and warnings of its searchers' fits to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


AS_SHIPPED = "BayesianOptimization_as_shipped"
# Each makes a search of `(past, seed, folder)`.
METHODS = {
    "MetaOracle": meta_oracle,
    "RandomSearch": random_search,
    "BayesianOptimization": bayesian_optimization_fast,
    AS_SHIPPED: bayesian_optimization,
    "Optuna_TPE": optuna_tpe,
    "syne-tune_zero-shot": zero_shot,
    "RUSH": rush,
    "syne-tune_quantile": quantile,
    "syne-tune_bounding_box": bounding_box,
}
