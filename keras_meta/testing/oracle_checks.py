"""Conformance suite for KerasTuner oracles."""

from __future__ import annotations

import functools
import json
import tempfile
import warnings
from typing import TYPE_CHECKING

import keras_tuner
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

METRIC = "val_score"
TRIALS = 9
FEW = ("a", "b", "c")


def check_oracle(
    make_oracle: Callable[..., keras_tuner.Oracle], trials: int = TRIALS
) -> list[str]:
    """Checks that an oracle does what KerasTuner's tuners and users rely on.

    Checked are: values are complete, in the space, of plain Python types, and never
    given twice, with every kind of hyperparameter and conditional scopes; the same
    seed, 0 included, gives the same search; a search that was saved and loaded goes on
    as if it had not stopped; failed trials, NaN and infinite scores, and
    hyperparameters that appear late do no harm; trials that run at the same time
    differ; both directions work; states are JSON; and a space that has no more values
    ends the search.

    Args:
        make_oracle: function of `objective`, `max_trials`, `hyperparameters` and
            `seed`, keywords, that returns a new `keras_tuner.Oracle`, such as
            `keras_meta.tuner.MetaOracle` itself or a `functools.partial` of it.
        trials: int >= 4, of each search.

    Returns:
        list of str, what was checked.

    Raises:
        AssertionError: if a check fails; the message says which and what to do.

    Example:

    ```python
    from keras_meta.testing import check_oracle
    from keras_meta.tuner import MetaOracle

    print(check_oracle(MetaOracle))
    ```
    """
    checks = (
        _values_are_sound,
        _seeds_repeat,
        _resumed_searches_go_on,
        _bad_scores_do_no_harm,
        _late_hyperparameters,
        _parallel_trials_differ,
        _both_directions,
        _exhausted_spaces_end,
    )
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        # KerasTuner's own, of a score that is NaN.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        for check in checks:
            check(functools.partial(_Search, make_oracle, root), trials)
    return [check.__name__.strip("_").replace("_", " ") for check in checks]


def space():
    """Returns a space with every kind of hyperparameter."""
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("momentum", 0.0, 0.99, step=0.09)
    hp.Float("tail", 0.1, 10.0, sampling="reverse_log")
    hp.Int("units", 8, 256, sampling="log")
    hp.Int("layers", 1, 9, step=2)
    hp.Boolean("norm")
    hp.Fixed("version", 3)
    hp.Choice("width", [1, 2, 4])
    hp.Choice("kind", ["plain", "gated"])
    with hp.conditional_scope("kind", ["gated"]):
        hp.Float("bias", -1.0, 1.0)
        hp.Int("gates", 1, 4)
    return hp


def score_of(values):
    """A surface with its best at rate 0.01, 64 units, normalised and gated."""
    loss = (np.log10(values["rate"]) + 2.0) ** 2 / 4.0
    loss += (np.log2(values["units"]) - 6.0) ** 2 / 20.0
    loss += 0.1 * (not values["norm"]) + 0.1 * (values["kind"] == "plain")
    return float(1.0 - loss - 0.05 * values.get("bias", 0.0) ** 2)


class _Search:
    """Drives an oracle as a tuner does, in a folder of its own."""

    def __init__(
        self, make, root, trials, seed=1, folder=None, hp=None, direction="max"
    ):
        objective = keras_tuner.Objective(METRIC, direction)
        self.oracle = make(
            objective=objective,
            max_trials=trials,
            hyperparameters=space() if hp is None else hp,
            seed=seed,
        )
        _require(
            isinstance(self.oracle, keras_tuner.Oracle),
            "it must be a keras_tuner.Oracle",
            f"got {type(self.oracle).__name__}",
            "Derive the class from keras_tuner.Oracle",
        )
        self.oracle.verbose = 0
        self.folder = folder or tempfile.mkdtemp(dir=root)
        self.oracle._set_project_dir(self.folder, "search")

    def begin(self, worker="worker"):
        try:
            return self.oracle.create_trial(worker)
        except Exception as error:
            raise AssertionError(
                "check_oracle: `populate_space` must never raise: KerasTuner's lock "
                f"would stay held, and all workers wait. It raised {error!r}."
            ) from error

    def end(self, trial, score, status="COMPLETED"):
        if score is not None:
            self.oracle.update_trial(trial.trial_id, {METRIC: score})
        trial.status = status
        self.oracle.end_trial(trial)

    def run(self, count, score=score_of):
        """Returns the values of so many trials, fewer if the search ended."""
        found = []
        for _ in range(count):
            trial = self.begin()
            if trial.status != "RUNNING":
                break
            found.append(dict(trial.hyperparameters.values))
            self.end(trial, score(trial.hyperparameters.values))
        return found


def _values_are_sound(start, trials):
    found = start(trials).run(trials)
    _require(
        len(found) == trials,
        "a search must run all its trials",
        f"{len(found)} of {trials} ran",
        "Return the status RUNNING while there are values that were not tried",
    )
    for values in found:
        _check_values(values, space())
    texts = [json.dumps(values, sort_keys=True) for values in found]
    _require(
        len(set(texts)) == len(texts),
        "the same values must not be tried twice",
        f"{len(texts) - len(set(texts))} of {len(texts)} were",
        "Compare with the trials that were begun, `oracle.trials`",
    )


def _check_values(values, hp):
    hp.values = dict(values)
    active = {one.name: one for one in hp.space if hp.is_active(one)}
    _require(
        set(values) == set(active),
        "values must be those of the active hyperparameters, all of them",
        f"missing {sorted(set(active) - set(values))}, "
        f"too many {sorted(set(values) - set(active))}",
        "KerasTuner fills what is missing at random",
    )
    for name, value in values.items():
        one = active[name]
        _require(
            type(value) in (str, int, float, bool),
            "values must be plain Python numbers, strings or bools",
            f"{name} is a {type(value).__name__}",
            "NumPy's break JSON and the messages between processes",
        )
        if isinstance(one, keras_tuner.engine.hyperparameters.Fixed):
            sound = value == one.value
        elif hasattr(one, "min_value"):
            sound = one.min_value <= value <= one.max_value
            if one.step and one.sampling == "linear":
                steps = (value - one.min_value) / one.step
                sound &= abs(steps - round(steps)) < 1e-6
            if type(one).__name__ == "Int":
                sound &= type(value) is int
        else:
            sound = value in list(one.values)
        _require(
            bool(sound),
            "values must lie in the space",
            f"{name}={value!r} for {one!r}",
            "KerasTuner does not check them",
        )


def _seeds_repeat(start, trials):
    for seed in (0, 1):
        runs = [start(trials, seed=seed).run(4) for _ in range(2)]
        _require(
            runs[0] == runs[1],
            "the same seed must give the same search",
            f"with seed={seed} two searches differ",
            "KerasTuner takes 0 for no seed, and draws one: set `self.seed` after "
            "`super().__init__`",
        )


def _resumed_searches_go_on(start, trials):
    whole = start(trials).run(trials)
    half = trials // 2
    first = start(trials)
    found = first.run(half)
    second = start(trials, folder=first.folder)
    second.oracle.reload()
    found += second.run(trials - half)
    try:
        json.dumps(second.oracle.get_state())
    except TypeError as error:
        raise AssertionError(
            f"check_oracle: `get_state` must return JSON values: {error}."
        ) from error
    differing = [i for i in range(min(len(found), trials)) if found[i] != whole[i]]
    _require(
        not differing and len(found) == len(whole),
        "a search that was saved and loaded must go on as if it had not stopped",
        f"it ran {len(found)} trials; those numbered {differing} differ",
        "Save all that suggestions depend on in `get_state`, random state included",
    )


def _bad_scores_do_no_harm(start, trials):
    search = start(20)
    bad = [float("nan"), float("inf"), float("-inf"), 1e30, None]
    for score in [0.5, *bad, 0.4, 0.6]:
        trial = search.begin()
        search.end(trial, score, "COMPLETED" if score is not None else "FAILED")
    found = search.run(2)
    _require(
        len(found) == 2,
        "failed trials and scores that are not finite must not end the search",
        f"{len(found)} of 2 trials ran after them",
        "Leave them out of the surrogate",
    )
    for values in found:
        _check_values(values, space())


def _late_hyperparameters(start, trials):
    search = start(20)
    search.run(trials // 2)
    trial = search.begin()
    trial.hyperparameters.Float("late", 0.0, 1.0)
    search.end(trial, 0.5)
    for values in search.run(trials // 2):
        _require(
            "late" in values and 0.0 <= values["late"] <= 1.0,
            "hyperparameters that appear during the search must be searched, too",
            f"values {sorted(values)}",
            "Read `self.hyperparameters` anew for each trial",
        )


def _parallel_trials_differ(start, trials):
    search = start(40)
    search.run(trials // 2)
    found = [search.begin(f"worker {i}") for i in range(6)]
    texts = {json.dumps(t.hyperparameters.values, sort_keys=True) for t in found}
    _require(
        len(texts) == len(found),
        "trials that run at the same time must differ",
        f"{len(found) - len(texts)} of {len(found)} were alike",
        "Count those in `ongoing_trials` as known",
    )


def _both_directions(start, trials):
    best = {}
    for direction, sign in (("max", 1.0), ("min", -1.0)):
        search = start(4 * trials, direction=direction)
        found = search.run(3 * trials, lambda values, s=sign: s * score_of(values))
        best[direction] = [score_of(values) for values in found]
    for direction, scores in best.items():
        early, late = np.mean(scores[:trials]), np.mean(scores[-trials:])
        _require(
            late > early - 0.3,
            "suggestions must not get worse as scores come in",
            f"direction {direction}: mean score {early:.2f} first, {late:.2f} last, "
            "higher is better",
            "Look at `self.objective.direction`",
        )


def _exhausted_spaces_end(start, trials):
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", list(FEW))
    search = start(20, hp=hp)
    found = search.run(20, lambda values: float(FEW.index(values["kind"])))
    _require(
        len(found) <= len(FEW) and len({v["kind"] for v in found}) == len(found),
        "a space that has no more values must end the search",
        f"{len(found)} trials of a space of {len(FEW)}",
        "Return the status STOPPED",
    )


def _require(sound, what, found, cure):
    if not sound:
        raise AssertionError(f"check_oracle: {what}: {found}. {cure}.")
