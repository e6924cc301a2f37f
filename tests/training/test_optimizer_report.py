"""The report of a learned optimizer, and the curves that it compares."""

import sys

import keras
import numpy as np
import pytest
from matplotlib import image

from keras_meta import LSTMOptimizer, OptimizerTrainer
from keras_meta.optimizers import SGD, Adam
from keras_meta.tasks import Quadratic
from keras_meta.training import report_optimizer
from keras_meta.training.long_runs.loss_curves import best_of_rates, loss_curves
from keras_meta.training.optimizer_report import update_rule

from .long_runs.problems import LearnedRate, OneBowl, losses_by_hand


@pytest.fixture(scope="module")
def trainer():
    made = OptimizerTrainer(
        LSTMOptimizer(hidden_size=3, seed=0), horizon=8, seed=0, truncation=4
    )
    made.compile(keras.optimizers.Adam(0.01))
    made.fit(Quadratic(2), meta_batch_size=4, steps_per_epoch=2, epochs=3, verbose=0)
    return made


def test_curves_are_those_of_the_rule_at_each_rate():
    curves = loss_curves(SGD(0.1, momentum=0.5), OneBowl(), 6, 2, rates=[0.1, 0.4])
    assert curves.shape == (2, 2, 7)
    for rate, found in zip([0.1, 0.4], curves, strict=True):
        expected = losses_by_hand((rate, 0.5), 6)
        np.testing.assert_allclose(found, np.tile(expected, (2, 1)), rtol=1e-4)


def test_curves_of_a_learned_theta():
    rule = LearnedRate()
    rule.set_theta({"pair": [0.2, 0.3]})
    [curve] = loss_curves(rule, OneBowl(), 4, 1)
    np.testing.assert_allclose(curve, losses_by_hand((0.2, 0.3), 4), rtol=1e-4)


def test_curves_are_of_the_problems_of_evaluate(trainer):
    expected = trainer.evaluate(Quadratic(2), episodes=4, seed=3, verbose=0)["loss"]
    curves = loss_curves(
        trainer.learned_optimizer(), Quadratic(2), 8, 4, seed=3, batch=2
    )
    np.testing.assert_allclose(curves.mean(axis=0), expected["mean"], rtol=1e-5)


def test_the_best_rate_has_the_least_mean_loss_at_the_end():
    curves = np.array([[[9, 1, 3.0]], [[9, 3, 2.0]], [[9, 0, np.nan]]])
    rate, best = best_of_rates(curves, [1.0, 2.0, 3.0], last=1)
    assert rate == 2.0
    np.testing.assert_array_equal(best, curves[1])
    assert best_of_rates(curves, [1.0, 2.0, 3.0], last=2)[0] == 1.0


def test_the_update_rule_of_adam_is_known():
    rule = Adam(0.25)
    rule.set_theta({})
    gradients = np.array([-2.0, 0.1, 5.0])
    moves = update_rule(rule, gradients, [1, 3])
    np.testing.assert_allclose(moves, [-0.25 * np.sign(gradients)] * 2, rtol=1e-3)


def test_a_report_compares_and_draws(trainer, tmp_path):
    path = tmp_path / "report.png"
    results = report_optimizer(
        trainer, Quadratic(2), path, steps=5, episodes=4, rates=[0.001, 0.1]
    )
    assert list(results) == [
        "LSTMOptimizer",
        "Adam",
        "RMSprop",
        "SGD",
        "SGD + momentum",
        "Nesterov",
    ]
    assert {result["rate"] for result in results.values()} <= {None, 0.001, 0.1}
    assert all(len(result["loss"]) == 6 for result in results.values())
    starts = [result["loss"][0] for result in results.values()]
    np.testing.assert_allclose(starts, starts[0], rtol=1e-5)
    pixels = image.imread(path)
    assert pixels.shape[:2] == (450, 1500)
    # Something is drawn in each third.
    assert all(part[..., :3].std() > 0.05 for part in np.array_split(pixels, 3, axis=1))


def test_what_it_refuses(trainer, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in '.png'. Received: 'report.jpg'"):
        report_optimizer(trainer, Quadratic(2), "report.jpg")
    with pytest.raises(ValueError, match="existing folder"):
        report_optimizer(trainer, Quadratic(2), tmp_path / "none" / "report.png")
    with pytest.raises(TypeError, match="OptimizationProblem"):
        report_optimizer(trainer, "quadratic", tmp_path / "report.png")
    with pytest.raises(TypeError, match="must be an OptimizerTrainer"):
        report_optimizer(trainer.learned_optimizer(), Quadratic(2), "report.png")
    with pytest.raises(ValueError, match="at least one rate"):
        report_optimizer(trainer, Quadratic(2), tmp_path / "report.png", rates=[])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_meta\[demo\]'"):
        report_optimizer(trainer, Quadratic(2), tmp_path / "report.png")
