"""NaN, infinities and 1e30 in data, losses, gradients and scores."""

import logging
import math

import keras
import numpy as np
import tensorflow as tf

import keras_meta
from keras_meta.presets import load
from keras_meta.tuner import ExperiencePool
from tests.faults.drills.outcome import Drill
from tests.faults.drills.searches import run_search, score_of

POISONS = (math.nan, math.inf, -math.inf, 1e30, -1e30)
PLACES = ("support_x", "support_y", "query_x", "query_y")
STEPS = 3
MARK = 1_000.0  # Finite: the loss knows the bad tasks by it.


class PoisonedSinusoid(keras_meta.tasks.Sinusoid):
    """Sinusoids of which every fourth task has one bad number.

    Args:
        place: str, the part of the episode.
        poison: `tf.Variable` of float32, the number.
    """

    def __init__(self, place, poison):
        super().__init__(shots=3, queries=3)
        self.place, self.poison = place, poison

    def sample(self, seed):
        episode = super().sample(seed)
        tensor = getattr(episode, self.place)
        number = tf.reshape(tf.convert_to_tensor(seed), [-1])[-1]
        value = tf.where(number % 4 == 3, self.poison, tensor[0, 0])
        spoilt = tf.tensor_scatter_nd_update(tensor, [[0, 0]], [value])
        return episode._replace(**{self.place: spoilt})


def poisoned_tasks(folder, count):
    """Meta-trains on tasks with a bad number: told at once, no weight is spoilt."""
    drill = Drill("NaN, infinity, 1e30 in the data of meta-training")
    poison = tf.Variable(0.0)
    for number in range(min(count, len(PLACES))):
        place = PLACES[number]
        trainer = _trainer()
        tasks = PoisonedSinusoid(place, poison)
        fit = {"meta_batch_size": 2, "steps_per_epoch": STEPS, "verbose": 0}
        for value in POISONS[: max(1, count // len(PLACES))]:
            poison.assign(value)
            try:
                history = trainer.fit(tasks, **fit).history
            except FloatingPointError as error:
                assert "became NaN or infinite at meta-step" in str(error)
                assert "'int64'))`" in str(error), error  # It says which task.
                for variable in trainer.weights:
                    assert np.isfinite(variable).all()
                drill.record("told with the task's seed, all weights finite")
            else:
                # 1e30 that saturates a tanh does no harm: then nothing is bad.
                assert np.isfinite(history["loss"]).all(), (place, value, history)
                for variable in trainer.weights:
                    assert np.isfinite(variable).all()
                drill.record("trained on, all finite")
    return drill


def poisoned_losses(folder, count):
    """Meta-trains with a loss that is NaN for some tasks, whose data are good."""
    drill = Drill("NaN and infinity as the loss of one task in four")
    for number in range(count):
        place = ("support_y", "query_y")[number % 2]
        bad = POISONS[number // 2 % 3]

        def loss(y_true, y_pred, bad=bad):
            marked = tf.reduce_any(y_true > MARK / 2)
            return tf.reduce_mean((y_true - y_pred) ** 2) * tf.where(marked, bad, 1.0)

        trainer = _trainer(loss)
        tasks = PoisonedSinusoid(place, tf.Variable(MARK))
        try:
            trainer.fit(tasks, meta_batch_size=2, steps_per_epoch=STEPS, verbose=0)
        except FloatingPointError as error:
            assert "became NaN or infinite at meta-step" in str(error)
            assert "3], 'int64'))`" in str(error), error  # The fourth task is bad.
        else:
            raise AssertionError(f"A loss of {bad} at {place} was trained on.")
        for variable in trainer.weights:
            assert np.isfinite(variable).all()
        drill.record("told with the task's seed, all weights finite")
    return drill


def poisoned_steps(folder, count):
    """Gives `LSTMOptimizer` bad gradients: it promises to skip those not finite."""
    drill = Drill("NaN, infinity, 1e30 in gradients of `LSTMOptimizer`")
    optimizer = load("lstm_default").optimizer()
    weights = keras.Variable(np.linspace(-1.0, 1.0, 6, dtype="float32"))
    optimizer.build([weights])
    for number in range(count):
        optimizer.apply([tf.constant(np.array(weights))])
        before = [np.array(v) for v in (weights, *optimizer.variables)]
        bad = np.array(weights)
        bad[number % 6] = POISONS[number % len(POISONS)]
        optimizer.apply([tf.constant(bad)])
        assert all(np.isfinite(v).all() for v in (weights, *optimizer.variables))
        if not np.isfinite(bad).all():
            np.testing.assert_array_equal(weights, before[0])
            drill.record("not finite: the step is skipped")
        else:
            drill.record("1e30: all weights and states finite")
    return drill


def poisoned_gradients(folder, count):
    """Gives `MetaAdam` bad gradients amid good ones."""
    drill = Drill("NaN, infinity, 1e30 in gradients of `MetaAdam` (guarded)")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    optimizer = keras_meta.MetaAdam()
    variables = model.trainable_variables
    optimizer.build(variables)
    drawn = np.random.default_rng(9)
    for number in range(count):
        good = [drawn.normal(size=v.shape).astype("float32") for v in variables]
        for _ in range(2):
            optimizer.apply([tf.constant(g) for g in good])
        before = [np.array(v) for v in variables]
        bad = [g.copy() for g in good]
        bad[number % 2].flat[0] = POISONS[number % len(POISONS)]
        optimizer.apply([tf.constant(g) for g in bad])
        for variable, value in zip(variables, before, strict=True):
            assert np.isfinite(variable).all()
            assert np.abs(np.array(variable) - value).max() < 1.0
        drill.record("all weights finite, none moved by 1 or more")
    return drill


def poisoned_scores(folder, count):
    """Searches with a bad score among the good: priors go on, the pool knows."""
    drill = Drill("NaN, infinity, 1e30 as a trial's score")
    for number in range(count):
        bad = POISONS[number % len(POISONS)]
        pool = ExperiencePool(folder / f"{number}.sqlite")

        def score(values, index, bad=bad):
            return bad if index == 2 else score_of(values)

        with _NoFaultLogged():
            tuner = run_search(folder / f"{number}", 8, pool.path, score, seed=number)
        trials = [tuner.oracle.trials[i] for i in tuner.oracle.start_order]
        assert len(trials) == len(tuner.oracle.end_order) == 8
        for trial in trials:
            values = trial.hyperparameters.values
            assert 0.0 <= values["rate"] <= 1.0 and 4 <= values["units"] <= 64
        [task] = pool.tasks()
        for trial, known in zip(task.trials, trials, strict=True):
            if math.isfinite(known.score):
                assert trial.score == known.score
            else:
                assert trial.score is None and "score was" in trial.message
        drill.record("the search ended, the pool has no score that is not finite")
    return drill


class _NoFaultLogged(logging.Handler):
    """Raises AssertionError if the oracle logged a fault of its own within."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        self.records.append(record.getMessage())

    def __enter__(self):
        logging.getLogger("keras_meta.tuner").addHandler(self)

    def __exit__(self, *error):
        logging.getLogger("keras_meta.tuner").removeHandler(self)
        assert not self.records, self.records


def _trainer(loss="mse"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(3, "tanh"),
            keras.layers.Dense(1),
        ]
    )
    trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(seed=0), seed=3)
    trainer.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    return trainer
