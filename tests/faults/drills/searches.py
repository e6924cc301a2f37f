"""A search that costs nothing but the oracle's own work."""

import keras_tuner

from keras_meta.tuner import MetaOracle


def declare(hp):
    hp.Float("rate", 0.0, 1.0)
    hp.Int("units", 4, 64)


def score_of(values):
    return 1.0 - (values["rate"] - 0.3) ** 2 - 0.001 * abs(values["units"] - 20)


class HyperModel(keras_tuner.HyperModel):
    """Declares two parameters and builds nothing."""

    def build(self, hp):
        declare(hp)


class Search(keras_tuner.Tuner):
    """Scores a trial by a function of its values.

    Args:
        score: function of `(values, number of the trial)`.
        **kwargs: see `keras_tuner.Tuner`.
    """

    def __init__(self, score, **kwargs):
        self.score = score
        super().__init__(hypermodel=HyperModel(), **kwargs)

    def run_trial(self, trial):
        number = self.oracle.start_order.index(trial.trial_id)
        return {"val_score": self.score(trial.hyperparameters.values, number)}


def run_search(folder, trials, pool, score=None, seed=0, project="search"):
    """Runs a search in a folder, or goes on with the one that is there.

    Returns:
        The tuner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    oracle = MetaOracle(
        keras_tuner.Objective("val_score", "max"),
        max_trials=trials,
        experience=pool,
        seed=seed,
        max_consecutive_failed_trials=trials + 1,
    )
    oracle.verbose = 0
    search = Search(
        score or (lambda values, number: score_of(values)),
        oracle=oracle,
        directory=str(folder),
        project_name=project,
    )
    search.search()
    return search
