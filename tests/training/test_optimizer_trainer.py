"""OptimizerTrainer through its public API."""

import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta import LSTMOptimizer, OptimizerTrainer
from keras_meta.optimizers import Adam
from keras_meta.tasks import OptimizationProblem, Problem, Quadratic, Sinusoid
from keras_meta.training import PES
from tests.forked import forked
from tests.training.killed_optimizer_run import run

from .long_runs.problems import Bowls, LearnedRate, OneBowl, losses_by_hand


class Layers(OptimizationProblem):
    """Two parameters, where a quadratic has one."""

    def sample(self, seed):
        return Problem((), [tf.ones((2, 3)), tf.ones(3)])

    def loss(self, data, parameters, seed):
        return tf.reduce_sum(parameters[0] ** 2) + tf.reduce_sum(parameters[1] ** 2)


def make(optimizer=None, outer=None, jit_compile=False, **kwargs):
    kwargs = {"horizon": 8, "truncation": 2, "seed": 3} | kwargs
    trainer = OptimizerTrainer(optimizer or LearnedRate(), **kwargs)
    trainer.compile(outer or keras.optimizers.SGD(0.01), jit_compile=jit_compile)
    return trainer


def fit(trainer, tasks=None, meta_batch_size=4, steps=3, **kwargs):
    return trainer.fit(
        tasks or Bowls(),
        meta_batch_size=meta_batch_size,
        steps_per_epoch=steps,
        verbose=0,
        **kwargs,
    )


# ---- meta-steps --------------------------------------------------------------------


def test_a_meta_step_is_the_outer_step_along_the_mean_gradient():
    trainer = make(horizon=2, second_order=True)
    history = fit(trainer, steps=1)
    # Tasks 0 to 3 are one to four times as steep.
    gradient, values = np.zeros(2), []
    for factor in (1.0, 2.0, 3.0, 4.0):

        def objective(pair, factor=factor):
            curve = losses_by_hand((factor * pair[0], pair[1]), 2)
            return factor * curve[1:].mean()

        values.append(objective((0.1, 0.5)))
        for index in range(2):
            step = np.eye(2)[index] * 1e-5
            ends = [objective(np.array([0.1, 0.5]) + s * step) for s in (1, -1)]
            gradient[index] += (ends[0] - ends[1]) / 2e-5 / 4
    np.testing.assert_allclose(history.history["loss"], [np.mean(values)], rtol=1e-5)
    np.testing.assert_allclose(
        trainer.theta_values()["pair"], [0.1, 0.5] - 0.01 * gradient, rtol=1e-4
    )


@pytest.mark.parametrize("meta_gradient", ["truncated", "pes"])
def test_xla_learns_what_plain_graphs_learn(meta_gradient):
    learned = []
    for jit_compile in (False, True):
        trainer = make(
            LSTMOptimizer(hidden_size=3, seed=0),
            keras.optimizers.SGD(0.05),
            jit_compile,
            meta_gradient=meta_gradient,
        )
        fit(trainer, Quadratic(2), steps=4)
        learned.append(trainer.theta_values())
    start = LSTMOptimizer(hidden_size=3, seed=0).initial_theta({}, 0)
    for name, value in learned[0].items():
        moved = np.abs(value - start[name]).max()
        assert moved > 1e-5, name
        assert np.abs(value - learned[1][name]).max() < 2e-2 * moved + 1e-6, name


def test_a_runs_clipped_gradient_has_at_most_that_norm():
    free, clipped = make(), make(task_clipnorm=0.001)
    for trainer in (free, clipped):
        fit(trainer, steps=1)
    start = np.array([0.1, 0.5], "float32")
    moved = np.linalg.norm(clipped.theta_values()["pair"] - start)
    # The mean of unit vectors that point much the same way, times both rates.
    assert 0.5e-5 < moved <= 1.001e-5
    assert np.linalg.norm(free.theta_values()["pair"] - start) > 1e-3


def test_several_problems_share_a_meta_step():
    trainer = make()
    problems = [Quadratic(2), Bowls(), Quadratic(5)]
    history = fit(trainer, problems, meta_batch_size=6)
    assert [runs.num_tasks for runs in trainer.all_runs()] == [2, 2, 2]
    assert np.isfinite(history.history["loss"][0])
    with pytest.raises(
        ValueError, match="must be a multiple of the number of problems"
    ):
        fit(trainer, problems, meta_batch_size=4)


def test_learning_makes_runs_better():
    trainer = make(outer=keras.optimizers.Adam(0.02), horizon=8, second_order=True)
    tasks = OneBowl()
    before = trainer.evaluate(tasks, episodes=4, verbose=0)["loss"]["mean"]
    fit(trainer, tasks, steps=60)
    after = trainer.evaluate(tasks, episodes=4, verbose=0)["loss"]["mean"]
    assert len(before) == 9
    assert before[0] == after[0]
    assert after[-1] < 0.5 * before[-1]


def test_imitation_then_training():
    trainer = make(
        LSTMOptimizer(seed=0), keras.optimizers.Adam(0.01), horizon=10, truncation=5
    )
    first = fit(trainer, Quadratic(), teacher=Adam(0.1), steps=5)
    later = fit(trainer, Quadratic(), teacher=Adam(0.1), steps=60)
    assert later.history["loss"][0] < 0.8 * first.history["loss"][0]
    after = fit(trainer, Quadratic(), steps=2)
    # Losses of quadratics now, no longer errors relative to a step.
    assert after.history["loss"][0] > 1.0


def test_imitation_on_problems_of_other_shapes():
    trainer = make(LSTMOptimizer(hidden_size=3, seed=0))
    problems = [Quadratic(2), Layers()]
    history = fit(trainer, problems, teacher=Adam(0.1), steps=2)
    assert 0.1 < history.history["loss"][0] < 100.0


def test_validation_problems_add_their_losses_to_the_logs():
    trainer = make()
    history = fit(trainer, validation_tasks=OneBowl(), validation_episodes=6).history
    np.testing.assert_allclose(history["val_dropped"], [0.0])
    pair = trainer.theta_values()["pair"]
    np.testing.assert_allclose(
        history["val_loss"], [losses_by_hand(pair, 8)[-1]], rtol=1e-4
    )


def test_a_learned_optimizer_may_be_the_outer_one():
    # It sees the meta-loss, not a gradient.
    trainer = make(outer=keras_meta.MetaLSTM(initial_rate=0.1, seed=0))
    before = trainer.theta_values()["pair"]
    fit(trainer, steps=2)
    assert trainer.optimizer.skipped_steps == 0
    assert np.all(trainer.theta_values()["pair"] != before)


def test_a_problem_added_to_the_list_is_trained_on():
    trainer = make()
    problems = [Quadratic(2), Quadratic(3)]
    fit(trainer, problems, meta_batch_size=6, steps=1)
    problems.append(Quadratic(4))
    fit(trainer, problems, meta_batch_size=6, steps=1)
    shapes = [runs.parameters[0].shape for runs in trainer.all_runs()]
    assert shapes == [(2, 2), (2, 3), (2, 4)]


# ---- runs that break ---------------------------------------------------------------


def test_runs_that_are_not_finite_are_left_out_counted_and_begun_anew():
    trainer = make(horizon=2)
    history = fit(trainer, Bowls(broken=2, last=4), steps=1)
    assert history.history["dropped"] == [0.5]
    assert np.isfinite(history.history["loss"][0])
    whole = make(horizon=2)
    fit(whole, Bowls(), meta_batch_size=2, steps=1)
    # Left out: as if there had been tasks 0 and 1 alone.
    np.testing.assert_allclose(
        trainer.theta_values()["pair"], whole.theta_values()["pair"], rtol=1e-6
    )
    again = fit(trainer, trainer.train_source.tasks, steps=1)
    assert again.history["dropped"] == [0.0]
    assert all(np.isfinite(v).all() for v in trainer.all_runs()[0].get_weights())


def test_if_no_run_is_finite_training_stops_and_theta_stays():
    trainer = make()
    with pytest.raises(FloatingPointError, match="meta-step 0"):
        fit(trainer, Bowls(broken=0))
    np.testing.assert_array_equal(
        trainer.theta_values()["pair"], np.array([0.1, 0.5], "float32")
    )


# ---- going on, saving --------------------------------------------------------------


def test_fit_goes_on_with_the_same_runs():
    together, apart = make(), make()
    tasks = Bowls()
    fit(together, tasks, steps=6)
    fit(apart, tasks, steps=3)
    fit(apart, tasks, steps=3)
    for one, other in zip(together.weights, apart.weights, strict=True):
        if "progress" not in one.path:
            np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_fit_on_another_problem_begins_new_runs():
    trainer = make()
    fit(trainer, Bowls())
    fit(trainer, Quadratic(3), meta_batch_size=2, steps=1)
    [runs] = trainer.all_runs()
    assert runs.parameters[0].shape == (2, 3)
    assert np.array(runs.step).tolist() == [2, 2]
    held = [v for v in trainer.weights if "parameter_0" in v.path]
    assert len(held) == 1


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path):
    status, printed = forked(run, tmp_path / "backup", True)
    assert status == -signal.SIGKILL, printed[-2000:]
    resumed = run(tmp_path / "backup")
    whole = run()
    assert int(resumed.meta_step) == int(whole.meta_step) == 9
    for one, other in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_a_preset_gives_trainer_and_optimizer_back(tmp_path):
    path = tmp_path / "learned.kmeta"
    trainer = make(
        LSTMOptimizer(hidden_size=3, inputs="normalized", seed=0),
        keras.optimizers.Adam(0.01),
        meta_gradient=PES(0.02),
        meta_objective="log",
        curriculum=5,
        horizon=(4, 8),
        task_clipnorm=1.0,
    )
    fit(trainer, Quadratic(2))
    expected = trainer.evaluate(Quadratic(2), episodes=4, verbose=0)
    trainer.save_preset(path)
    loaded = OptimizerTrainer.from_preset(path)
    assert loaded.evaluate(Quadratic(2), episodes=4, verbose=0) == expected
    assert loaded.get_config()["meta_gradient"] == trainer.get_config()["meta_gradient"]
    assert (loaded.horizon, loaded.curriculum, loaded.meta_objective) == (
        (4, 8),
        5,
        "log",
    )
    assert int(loaded.meta_step) == 3
    fit(loaded, Quadratic(2), steps=1)
    card = keras_meta.load(path).card
    assert card["trained_on"]["tasks"]["class_name"] == "Quadratic"
    assert card["evaluation"]["episodes"] == 4
    optimizer = LSTMOptimizer.from_preset(path)
    for name, value in trainer.theta_values().items():
        np.testing.assert_array_equal(optimizer.theta_values()[name], value)
    with pytest.raises(keras_meta.presets.PresetError, match="not saved by a MetaTr"):
        keras_meta.MetaTrainer.from_preset(path)


def test_keras_fit_takes_the_steps_that_evaluate_reports():
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 3)).astype("float32")
    y = random.normal(size=(1, 2)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "tanh")])
    # One example: every mini-batch is the same.
    problem = keras_meta.tasks.TrainingProblem(model, x, y, "mse", batch_size=1)
    trainer = make(LSTMOptimizer(seed=4), horizon=6)
    losses = trainer.evaluate(problem, episodes=2, seed=1, verbose=0)["loss"]["mean"]
    curves = []
    for number in range(2):
        stream = 2**33 + 1  # that of evaluation with seed 1
        _, start = problem.sample(tf.constant([stream, number], "int64"))
        for variable, value in zip(model.trainable_variables, start, strict=True):
            variable.assign(value)
        model.compile(optimizer=trainer.learned_optimizer(), loss="mse")
        history = model.fit(x, y, epochs=7, verbose=0)
        curves.append(history.history["loss"])
    np.testing.assert_allclose(losses, np.mean(curves, axis=0), rtol=1e-4)


# ---- what it refuses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 10, "truncation": 20}, "`truncation` must be at most the horizon"),
        ({"horizon": (8, 4)}, r"must be a pair \(least, greatest\)"),
        ({"horizon": (2, 3, 4)}, "`horizon` must be an int or a pair"),
        ({"truncation": 0}, "`truncation` must be an integer >= 1"),
        ({"meta_gradient": "exact"}, "`meta_gradient` must be one of"),
        ({"meta_objective": "final"}, "`meta_objective` must be one of"),
        ({"curriculum": -1}, "`curriculum` must be an integer"),
        ({"task_clipnorm": 0.0}, "`task_clipnorm` must be above 0"),
        ({"second_order": "yes"}, "`second_order` must be True or False"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        OptimizerTrainer(LSTMOptimizer(), **arguments)


@pytest.mark.parametrize("argument", [{"loss": "mse"}, {"metrics": ["mae"]}])
def test_problems_bring_their_own_losses(argument):
    with pytest.raises(ValueError, match="must be None: what is minimised"):
        OptimizerTrainer(LSTMOptimizer()).compile("adam", **argument)


def test_optimizers_that_cannot_be_learned_here():
    with pytest.raises(ValueError, match=r"does not depend on the model.*MetaSGD"):
        OptimizerTrainer(keras_meta.MetaSGD())
    message = "`optimizer` must be a `keras_meta.LearnedOptimizer`.*LSTMOptimizer"
    with pytest.raises(TypeError, match=message):
        OptimizerTrainer(keras.optimizers.Adam())
    message = "`teacher` must be a `keras_meta.LearnedOptimizer`.*optimizers.Adam"
    with pytest.raises(TypeError, match=message):
        fit(make(), teacher=keras.optimizers.Adam())


def test_problems_that_cannot_be_learned_on():
    class Nothing(OptimizationProblem):
        def sample(self, seed):
            return Problem(seed, [])

        def loss(self, data, parameters, seed):
            return tf.constant(0.0)

    trainer = make()
    with pytest.raises(TypeError, match="OptimizationProblem.*Received: Sinusoid"):
        fit(trainer, Sinusoid())
    with pytest.raises(ValueError, match="at least one problem"):
        trainer.fit([], steps_per_epoch=1)
    with pytest.raises(ValueError, match="must have parameters to optimise"):
        fit(trainer, Nothing())
    with pytest.raises(TypeError, match=r"takes one problem.*a list of 2"):
        trainer.evaluate([Quadratic(), Quadratic()])
    with pytest.raises(ValueError, match="must be one problem. Received: 2"):
        fit(trainer, validation_tasks=[Quadratic(), Quadratic()])
    with pytest.raises(NotImplementedError, match="learned_optimizer"):
        trainer(np.zeros((1, 2)))
