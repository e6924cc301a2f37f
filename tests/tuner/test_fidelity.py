"""Early stopping by learning curves: rungs, predictions, and a real search."""

import keras
import numpy as np
import pytest

from keras_meta.tuner import ExperiencePool, MetaOracle, MetaTuner
from keras_meta.tuner.fidelity import EarlyStopping, curves_of, is_rung
from keras_meta.tuner.pool_records import PastTask, PastTrial


def curve(final, epochs=9, speed=0.5):
    """Scores that approach `final` from below."""
    return list(final - 0.4 * np.exp(-speed * np.arange(1, epochs + 1)))


def test_rungs_are_powers_of_three():
    assert [e for e in range(1, 100) if is_rung(e)] == [1, 3, 9, 27, 81]


FINALS = np.linspace(0.5, 0.9, 12)
OWN = [curve(final) for final in FINALS]


def test_a_poor_trial_is_stopped_and_a_good_one_is_not():
    rule = EarlyStopping()
    best = [max(c) for c in OWN]
    assert rule.stops(curve(0.3)[:3], OWN, best)
    assert not rule.stops(curve(0.88)[:3], OWN, best)
    assert not rule.stops(curve(0.3)[:2], OWN, best)  # not a rung
    assert not rule.stops(curve(0.3)[:3], OWN[:1], best[:1])  # too few to compare with
    assert not rule.stops(curve(0.3)[:3], OWN, [])


def test_the_best_so_far_is_never_stopped():
    rule = EarlyStopping()
    ahead = [0.95, 0.95, 0.95]
    assert not rule.stops(ahead, OWN, [max(c) for c in OWN])
    # Not even where all others were better this early, and fell back.
    others = [[1.0, 1.0, 1.0, 1.0] for _ in range(5)]
    assert not rule.stops([0.92, 0.92, 0.92], others, [0.9])


def test_a_late_bloomer_goes_on_if_the_past_knows_such():
    """Low after one epoch, but past curves say that low ones end high."""
    random = np.random.default_rng(0)

    def blooming(final):
        return [1.2 - final, *[final] * 8]

    past = [[blooming(f) for f in random.uniform(0.5, 0.9, 12)] for _ in range(3)]
    own = [blooming(f) for f in (0.5, 0.55, 0.6, 0.65, 0.7)]
    finals = [max(c) for c in own]
    assert EarlyStopping().stops([0.3], [c[:1] for c in own], finals)
    assert not EarlyStopping(past).stops([0.3], own, finals)


def test_the_prediction_is_the_line_of_past_gains():
    rule = EarlyStopping([OWN])
    predicted, margin = rule.predicted(curve(0.7)[:3], OWN)
    # Curves that differ by their level alone: all gain the same.
    assert predicted == pytest.approx(max(curve(0.7)), abs=0.01)
    assert 0.0 <= margin < 0.05
    assert rule.predicted([0.5], OWN[:2]) is None


def test_a_score_that_is_not_a_number_is_stopped():
    assert EarlyStopping().stops([np.nan], OWN, [0.9])


def test_curves_of_a_past_task():
    trials = [
        PastTrial(
            {},
            0.5,
            metrics={"val_loss": {"direction": "min", "observations": observations}},
        )
        for observations in ([[0, 0.9], [1, 0.5], [2, None]], [[4, 0.3]])
    ]
    task = PastTask("one", None, [], "val_loss", "min", None, trials)
    [found] = curves_of(task, -1.0)
    np.testing.assert_array_equal(found, [-0.9, -0.5, np.nan])


@pytest.mark.filterwarnings("ignore:Skipping variable")
def test_a_search_stops_poor_trials_and_keeps_their_curves(tmp_path, quick_trials):
    epochs_of = {}

    def build(hp):
        rate = hp.Float("rate", 1e-5, 1e-1, sampling="log")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)
        return model

    class Counts(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rate = float(self.model.optimizer.learning_rate)
            epochs_of[rate] = epoch + 1

    pool = ExperiencePool(tmp_path / "pool.sqlite")
    tuner = MetaTuner(
        build,
        "val_loss",
        max_trials=8,
        experience=pool,
        task_name="lines",
        fidelity="epochs",
        seed=1,
        directory=tmp_path,
        project_name="search",
    )
    tuner.oracle.verbose = 0
    x = np.random.default_rng(0).normal(size=(80, 2)).astype("float32")
    y = x @ np.array([[1.0], [-2.0]], "float32")
    tuner.search(
        x,
        y,
        batch_size=60,
        validation_split=0.25,
        epochs=9,
        verbose=0,
        callbacks=[Counts()],
    )
    oracle = tuner.oracle
    assert oracle.stopped
    assert min(epochs_of.values()) in (1, 3)
    assert max(epochs_of.values()) == 9
    best = oracle.get_best_trials()[0]
    assert best.trial_id not in oracle.stopped
    assert all(t.status == "COMPLETED" for t in oracle.trials.values())
    [task] = pool.tasks()
    lengths = [len(t.metrics["val_loss"]["observations"]) for t in task.trials]
    assert max(lengths) == 9 and min(lengths) < 9


def test_what_fidelity_needs():
    with pytest.raises(ValueError, match="Argument `fidelity`"):
        MetaOracle("val_loss", fidelity="steps")
    with pytest.raises(ValueError, match="executions_per_trial=1"):
        MetaTuner(
            lambda hp: None,
            "val_loss",
            fidelity="epochs",
            executions_per_trial=2,
        )


def test_what_was_stopped_teaches_no_gain():
    """Curves that end at a rung were cut off there: they show no later gain."""
    whole = [[0.1 * k, 0.1 * k + 0.1, 0.1 * k + 0.2, 0.1 * k + 0.5] for k in range(10)]
    cut = [curve[:3] for curve in whole]
    of_whole = EarlyStopping([whole]).predicted([0.3], whole)
    of_both = EarlyStopping([whole + cut]).predicted([0.3], whole + cut)
    assert of_whole[0] == pytest.approx(0.8, abs=0.05)
    assert of_both[0] == pytest.approx(of_whole[0], abs=0.1)
