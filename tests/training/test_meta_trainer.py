import gc
import os
import pathlib
import subprocess
import sys
import tracemalloc

import keras
import numpy as np
import pytest

import keras_meta

ROOT = pathlib.Path(__file__).parents[2]


def weights(trainer):
    values = [np.array(v) for v in trainer.weights]
    return values + [np.array(v) for v in trainer.optimizer.variables]


def assert_same(first, second):
    for value, wanted in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(value, wanted)


def run_python(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture
def fit(sinusoids):
    def fit(trainer, **kwargs):
        kwargs = {"steps_per_epoch": 2, "verbose": 0} | kwargs
        return trainer.fit(sinusoids, meta_batch_size=2, **kwargs)

    return fit


def test_it_learns_to_adapt(make_trainer):
    """Five meta-steps an epoch on one slope: the last epochs beat the first."""
    tasks = keras_meta.tasks.Sinusoid(shots=5, queries=5, amplitude=1.0, phase=0.0)
    trainer = make_trainer(outer=keras.optimizers.Adam(0.02))
    history = trainer.fit(
        tasks, meta_batch_size=4, steps_per_epoch=50, epochs=3, verbose=0
    )
    losses = history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    result = trainer.evaluate(tasks, episodes=20, verbose=0)["loss"]["mean"]
    assert result[1] < result[0]


def test_seeds_name_the_run(make_trainer, fit):
    first, again, other = (make_trainer(seed=seed) for seed in (1, 1, 2))
    for trainer in (first, again, other):
        fit(trainer)
    assert_same(first, again)
    assert not np.array_equal(weights(first)[0], weights(other)[0])


def test_a_drawn_seed_is_kept(linear_model):
    trainers = [
        keras_meta.MetaTrainer(linear_model(), keras_meta.MetaSGD()) for _ in range(2)
    ]
    assert trainers[0].seed != trainers[1].seed
    assert trainers[0].get_config()["seed"] == trainers[0].seed


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_saved_trainer_goes_on_bit_for_bit(
    make_trainer, fit, sinusoids, tmp_path, ending
):
    trainer = make_trainer(metrics=["mae"])
    fit(trainer)
    path = tmp_path / f"trainer{ending}"
    if ending == ".keras":
        trainer.save(path)
        again = keras.models.load_model(path)
        assert isinstance(again, keras_meta.MetaTrainer)
    else:
        trainer.save_weights(path)
        again = make_trainer(metrics=["mae"])
        again.optimizer.build(again.trainable_variables)
        again.load_weights(path)
    assert_same(again, trainer)
    results = [t.evaluate(sinusoids, episodes=3, verbose=0) for t in (again, trainer)]
    assert results[0] == results[1]
    for each in (again, trainer):
        fit(each)
    assert_same(again, trainer)


def test_callbacks_and_the_progress_bar_work_as_in_keras(
    make_trainer, fit, sinusoids, tmp_path, capsys
):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    callbacks = keras.callbacks
    best, last = tmp_path / "best.keras", tmp_path / "{epoch}.weights.h5"
    trainer = make_trainer(metrics=["mae"])
    history = fit(
        trainer,
        epochs=4,
        verbose=1,
        validation_tasks=sinusoids,
        validation_episodes=5,
        callbacks=[
            callbacks.TensorBoard(tmp_path / "logs"),
            callbacks.ModelCheckpoint(best, "val_loss", save_best_only=True),
            callbacks.ModelCheckpoint(last, save_weights_only=True),
            callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9),
            callbacks.BackupAndRestore(tmp_path / "backup"),
            callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1)),
        ],
    )
    # Nothing improves by 1e9: the second epoch is the last.
    assert history.epoch == [0, 1]
    assert {"loss", "mae", "val_loss", "val_mae"} <= set(history.history)
    assert float(trainer.optimizer.learning_rate) == pytest.approx(0.005)
    shown = capsys.readouterr().out
    assert "Epoch 1/4" in shown and "2/2" in shown and "val_loss" in shown
    assert any((tmp_path / "logs" / "train").iterdir())
    loaded = keras.models.load_model(best)
    losses = history.history["val_loss"]
    assert int(loaded.meta_step) == 2 * (1 + int(np.argmin(losses)))
    again = make_trainer(metrics=["mae"])
    again.load_weights(tmp_path / "2.weights.h5")
    np.testing.assert_array_equal(again.get_weights()[0], trainer.get_weights()[0])
    assert not list(tmp_path.glob("*partial*"))


def test_validation_is_evaluation_after_the_last_step(make_trainer, fit, sinusoids):
    """val_loss is the mean over tasks [2 seed + 1, 0 ... 4], as plain `adapt` says."""
    trainer = make_trainer(outer=keras.optimizers.SGD(0.0))
    history = fit(trainer, validation_tasks=sinusoids, validation_episodes=5)
    source = trainer.validation_source
    losses = []
    for seed in source.seeds(range(5)):
        episode = sinusoids.sample(seed)
        assert int(seed[0]) == 2 * 7 + 1
        adapted = trainer.adapt(episode.support_x, episode.support_y)
        losses.append(adapted.evaluate(*episode[2:], verbose=0))
    np.testing.assert_allclose(history.history["val_loss"], np.mean(losses), rtol=1e-5)


def test_nothing_is_compiled_twice(make_trainer, fit, sinusoids):
    trainer = make_trainer()
    fit(trainer, validation_tasks=sinusoids, validation_episodes=2)
    functions = trainer.train_function, trainer.test_function
    fit(trainer, validation_tasks=sinusoids, validation_episodes=2)
    assert (trainer.train_function, trainer.test_function) == functions
    others = keras_meta.tasks.Sinusoid(shots=3)
    fit(trainer, validation_tasks=others, validation_episodes=2)
    assert trainer.train_function is functions[0]
    assert trainer.test_function is not functions[1]


def test_the_default_steps_per_execution_divide_the_epoch(make_trainer, fit):
    trainer = make_trainer()
    fit(trainer, steps_per_epoch=14)
    assert trainer.steps_per_execution == 7  # At most 10 where tasks are sequential.


def test_datasets_end_or_repeat(make_trainer, linear_model, dataset_of, episode):
    trainer = make_trainer(linear_model(), keras_meta.SGD(0.1))
    dataset = dataset_of(*[episode] * 5)
    trainer.fit(dataset, meta_batch_size=2, verbose=0)
    assert int(trainer.meta_step) == 2
    trainer.fit(dataset, meta_batch_size=2, steps_per_epoch=3, epochs=2, verbose=0)
    assert int(trainer.meta_step) == 8


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        (
            {"meta_batch_size": 0},
            ValueError,
            "`meta_batch_size` must be an integer >= 1",
        ),
        ({"steps_per_epoch": 2.5}, ValueError, "`steps_per_epoch` must be an int.*2.5"),
        ({"epochs": "3"}, ValueError, "`epochs` must be an integer >= 1.*'3'"),
        (
            {"steps_per_epoch": 5},
            ValueError,
            "multiple of `steps_per_execution`. Received: steps_per_epoch=5, "
            "steps_per_execution=2",
        ),
        ({"validation_episodes": 0}, ValueError, "`validation_episodes` must be an"),
        ({"validation_tasks": 3}, TypeError, "`validation_tasks` must be.*int"),
        ({"callbacks": [print]}, TypeError, "`callbacks` must be a list .*print"),
    ],
)
def test_wrong_arguments_of_fit_are_refused(
    make_trainer, sinusoids, arguments, error, text
):
    trainer = make_trainer(steps_per_execution=2)
    with pytest.raises(error, match=text):
        trainer.fit(sinusoids, **({"steps_per_epoch": 2, "verbose": 0} | arguments))


def test_datasets_that_cannot_fill_an_epoch_are_named(
    make_trainer, linear_model, dataset_of, episode
):
    trainer = make_trainer(linear_model())
    dataset = dataset_of(episode, episode)
    with pytest.raises(ValueError, match="Received: 2 episodes, meta_batch_size=16"):
        trainer.fit(dataset, verbose=0)
    with pytest.raises(ValueError, match="dataset without end. Received: steps_per_ep"):
        trainer.fit(dataset.repeat(), verbose=0)


def test_importing_the_package_loads_neither_tensorflow_nor_keras_tuner():
    program = (
        "import sys, keras, keras_meta\n"
        "print([m for m in ('tensorflow', 'keras_tuner') if m in sys.modules])\n"
        "model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n"
        "keras_meta.MetaTrainer(model, keras_meta.SGD())"
    )
    result = run_python(program, KERAS_BACKEND="jax")
    assert result.stdout.strip() == "[]", result.stderr
    assert (
        "ValueError: MetaTrainer needs Keras' TensorFlow backend. Received: backend "
        "'jax'. Set KERAS_BACKEND=tensorflow before importing keras."
    ) in result.stderr


@pytest.mark.slow
def test_memory_does_not_grow_from_step_to_step(make_trainer, sinusoids):
    """Python's own allocations; less than 50 bytes a meta-step."""
    trainer = make_trainer(steps_per_execution=1)

    def steps():
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=600, verbose=0)

    steps()
    tracemalloc.start()
    sizes = []
    for _ in range(3):
        steps()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    _, before, after = sizes
    assert after - before < 600 * 50
