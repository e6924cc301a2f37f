"""The demo: digits that were never seen, learned in a few steps from a few examples."""

import importlib.util
import pathlib
import time
from typing import NamedTuple

import keras
import numpy as np

import keras_meta
from keras_meta.demo import baselines, digits, plots, shipped_optimizer, warm_start
from keras_meta.demo.report import STEPS, Results
from keras_meta.training.meta_evaluation import FIRST_EVALUATION_STREAM
from keras_meta.training.task_source import TaskSource

PRESET = "digits_5way.kmeta"
DEFAULT_FOLDER = "keras_meta_demo"
SHOTS = (1, 5)
TRAINING_SHOTS = 5
INNER_STEPS = 4
META_BATCH_SIZE = 16
ALPHA_INIT = (0.005, 0.02)
OUTER_RATE = 3e-4
NUM_STEPS = max(STEPS)


class Size(NamedTuple):
    """How long the demo trains and tests."""

    epochs: int
    steps_per_epoch: int
    pretraining_epochs: int
    test_episodes: int
    fit_epochs: int
    fit_seeds: tuple
    fit_rates: tuple
    past_trials: int
    trials: int
    trial_epochs: int
    search_seeds: tuple


FULL = Size(
    epochs=8,
    steps_per_epoch=50,
    pretraining_epochs=20,
    test_episodes=200,
    fit_epochs=10,
    fit_seeds=(0, 1, 2),
    fit_rates=shipped_optimizer.RATES,
    past_trials=12,
    trials=8,
    trial_epochs=6,
    search_seeds=(1, 2, 3),
)
QUICK = Size(
    epochs=1,
    steps_per_epoch=2,
    pretraining_epochs=1,
    test_episodes=4,
    fit_epochs=2,
    fit_seeds=(0,),
    fit_rates=(1e-3, 1e-2),
    past_trials=3,
    trials=2,
    trial_epochs=1,
    search_seeds=(1,),
)


def main(quick=False, output=None):
    """Runs the demo and prints its table.

    Args:
        quick: bool; a few steps of everything, to see that it runs.
        output: folder for the preset, `results.json`, `table.md`, the plots and
            the TensorBoard logs. Default "keras_meta_demo".

    Returns:
        0.

    Raises:
        ModuleNotFoundError: if a package of the demo's extra is missing.
    """
    size = QUICK if quick else FULL
    folder = pathlib.Path(output or DEFAULT_FOLDER)
    _check_packages()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    print(
        f"1. Pretraining, then meta-training, on the digits "
        f"{_words(digits.TRAINING_DIGITS)}; {_words(digits.TEST_DIGITS)} are kept back."
    )
    path = folder / PRESET
    pretrained = baselines.pretrained(size.pretraining_epochs)
    meta_train(pretrained, size, folder / "tensorboard").save_preset(path)
    trainer = keras_meta.MetaTrainer.from_preset(path)

    print("2. Learning digits never seen: the reloaded MetaSGD, Adam and SGD.")
    results = compare(trainer, pretrained, size)
    trainer.save_preset(path, title="Five-way digits: Meta-SGD, two convolutions")

    print("3. The same optimizer in plain compile and fit.")
    plain_fit(path, trainer)

    print("4. Optimizers that ship, learned on other problems, on all digits.")
    shipped = shipped_optimizer.compare(size.fit_epochs, size.fit_seeds, size.fit_rates)
    results.facts["shipped_optimizer"] = shipped

    print("5. A search on the digits that starts from searches on other tables.")
    searched = warm_start.run(
        folder, size.past_trials, size.trials, size.trial_epochs, size.search_seeds
    )
    results.facts["warm_start"] = searched

    results.facts["seconds"] = round(time.perf_counter() - began, 1)
    results.print()
    shipped_optimizer.show(shipped)
    warm_start.show(searched)
    results.write(folder)
    plots.adaptation_curves(results, folder / "adaptation_curves.png")
    plots.learned_rates(trainer.learned_optimizer(), folder / "learned_rates.png")
    print(
        f"{results.facts['seconds']:.0f} seconds. In {folder}: {PRESET}, results.json, "
        "table.md, two plots and TensorBoard logs "
        f"(tensorboard --logdir {folder / 'tensorboard'})."
    )
    return 0


def meta_train(pretrained, size, logs):
    """Meta-trains on the training digits, from where the baselines start.

    Args:
        pretrained: what `baselines.pretrained` returned.
        size: `Size`.
        logs: folder for TensorBoard.

    Returns:
        `MetaTrainer`.
    """
    steps = size.epochs * size.steps_per_epoch
    model = digits.network()
    for variable, value in zip(
        model.trainable_variables,
        baselines.starting_weights("pretrained", pretrained, num_episodes=1),
        strict=True,
    ):
        variable.assign(value[0])
    trainer = keras_meta.MetaTrainer(
        model,
        keras_meta.MetaSGD(alpha_init=ALPHA_INIT, seed=0),
        inner_steps=INNER_STEPS,
        seed=0,
    )
    trainer.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(OUTER_RATE, steps)
        ),
        loss=digits.cross_entropy(),
        metrics=["accuracy"],
    )
    trainer.fit(
        digits.tasks(digits.TRAINING_DIGITS, TRAINING_SHOTS),
        meta_batch_size=META_BATCH_SIZE,
        steps_per_epoch=size.steps_per_epoch,
        epochs=size.epochs,
        callbacks=[keras.callbacks.TensorBoard(str(logs))],
    )
    return trainer


def compare(trainer, pretrained, size):
    """Tests the meta-learned optimizer and the baselines on the same tasks.

    Args:
        trainer: `MetaTrainer` with what was learned.
        pretrained: what `baselines.pretrained` returned.
        size: `Size`.

    Returns:
        `Results`.
    """
    results = Results(
        {
            "training_digits": list(digits.TRAINING_DIGITS),
            "test_digits": list(digits.TEST_DIGITS),
            "test": _words(digits.TEST_DIGITS) + " in four directions",
            "ways": digits.WAYS,
            "episodes": size.test_episodes,
            "meta_steps": int(trainer.meta_step),
            "grid": {k: list(v) for k, v in baselines.LEARNING_RATES.items()},
        }
    )
    for shots in SHOTS:
        accuracy = trainer.evaluate(
            digits.tasks(digits.TEST_DIGITS, shots),
            episodes=size.test_episodes,
            inner_steps=NUM_STEPS,
        )["accuracy"]
        results.add_summary("meta-learned, MetaSGD", shots, accuracy)
    weights = {
        start: baselines.starting_weights(start, pretrained, size.test_episodes)
        for start in baselines.STARTS
    }
    rates = sum(map(len, baselines.LEARNING_RATES.values()))
    progress = keras.utils.Progbar(
        rates * len(SHOTS) * len(weights), unit_name="baseline"
    )
    for shots in SHOTS:
        episodes = test_episodes(shots, size.test_episodes)
        for name, grid in baselines.LEARNING_RATES.items():
            baseline = baselines.Baseline(name, episodes, NUM_STEPS)
            for start in weights:
                accuracies = {}
                for rate in grid:
                    accuracies[rate] = baseline.accuracy(weights[start], rate)
                    progress.add(1)
                columns, best = baselines.best_of_grid(name, accuracies)
                results.add(f"{start}, {name}", shots, columns, best)
    return results


def test_episodes(shots, num_episodes):
    """Returns the episodes that `MetaTrainer.evaluate` draws, with a task axis."""
    source = TaskSource(
        digits.tasks(digits.TEST_DIGITS, shots), FIRST_EVALUATION_STREAM
    )
    return source.sample(source.seeds(range(num_episodes)))


def plain_fit(path, trainer):
    """Trains an ordinary model on one new task with the reloaded optimizer."""
    preset = keras_meta.load(path)
    episode = digits.tasks(digits.TEST_DIGITS, SHOTS[-1]).sample(0)
    model = preset.initialize(digits.network())
    model.compile(
        optimizer=preset.optimizer(),
        loss=digits.cross_entropy(),
        metrics=["accuracy"],
    )
    _, before = model.evaluate(episode.query_x, episode.query_y, verbose=0)
    model.fit(
        episode.support_x,
        episode.support_y,
        epochs=INNER_STEPS,
        batch_size=len(episode.support_x),
        verbose=0,
    )
    _, after = model.evaluate(episode.query_x, episode.query_y, verbose=0)
    adapted = trainer.adapt(episode.support_x, episode.support_y)
    largest = max(
        float(np.max(np.abs(keras.ops.convert_to_numpy(a - b))))
        for a, b in zip(
            adapted.trainable_variables, model.trainable_variables, strict=True
        )
    )
    print(
        f"   accuracy {before:.2f} before, {after:.2f} after {INNER_STEPS} epochs; "
        f"weights differ from trainer.adapt's by at most {largest:.0e}."
    )


def _check_packages():
    missing = [
        package
        for package in ("sklearn", "matplotlib", "tensorboard")
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise ModuleNotFoundError(
            "The demo needs scikit-learn, matplotlib and tensorboard. Missing: "
            f"{', '.join(missing)}. Run `pip install 'keras_meta[demo]'`.",
            name=missing[0],
        )


def _words(numbers):
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
