"""Searches on scikit-learn's tables: past ones, then a new one, warm and cold."""

import functools
import pathlib
import tempfile

import keras
import keras_tuner
import numpy as np
import rich.console
import rich.table

from keras_meta.tuner import ExperiencePool, MetaOracle

PAST_TABLES = ("breast_cancer", "iris", "wine")
NEW_TABLE = "digits"
NEW_ROWS = 600  # of the digits
BATCH_SIZE = 32
OBJECTIVE = keras_tuner.Objective("val_loss", "min")


def build(hp, inputs, outputs):
    """Returns a compiled classifier of `inputs` features and `outputs` classes."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((inputs,))])
    units = hp.Int("units", 8, 256, sampling="log")
    activation = hp.Choice("activation", ["relu", "tanh", "sigmoid"])
    dropout = hp.Float("dropout", 0.0, 0.6)
    for _ in range(hp.Int("layers", 1, 3)):
        model.add(layers.Dense(units, activation))
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(outputs))
    rate = hp.Float("learning_rate", 1e-5, 1.0, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def table(name):
    """Returns `(x, y)` of one of scikit-learn's tables, standardised and shuffled."""
    # Here: only the demo's extra installs it; `run.main` says so if it is missing.
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:NEW_ROWS]
    x, y = x[order], y[order]
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    return x.astype("float32"), y


def search_arguments(name, epochs):
    """Returns the arguments of `Tuner.search()` on a table."""
    x, y = table(name)
    return {
        "x": x,
        "y": y,
        "validation_split": 0.3,
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "verbose": 0,
    }


def hypermodel(name):
    """Returns the function that builds models for a table."""
    x, y = table(name)
    return functools.partial(build, inputs=x.shape[1], outputs=int(y.max()) + 1)


def fill(pool, trials, epochs):
    """Runs the past searches, at random."""
    for name in PAST_TABLES:
        pool.collect(
            hypermodel(name),
            {name: search_arguments(name, epochs)},
            trials=trials,
            objective=OBJECTIVE,
            seed=1,
        )


def best_by_trial(oracle, epochs):
    """Searches on the new table; returns the best loss after each trial."""
    oracle.verbose = 0
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Tuner(
            oracle=oracle, hypermodel=hypermodel(NEW_TABLE), directory=folder
        )
        tuner.search(**search_arguments(NEW_TABLE, epochs))
    scores = [oracle.trials[i].score for i in oracle.start_order]
    finite = [s if s is not None and np.isfinite(s) else np.inf for s in scores]
    return np.minimum.accumulate(finite)


def compare(pool, trials, epochs, seeds):
    """Searches on the new table with and without the past.

    Args:
        pool: `ExperiencePool` with past searches.
        trials: int, of each search.
        epochs: int, of each trial.
        seeds: ints >= 1; KerasTuner's own oracles take 0 for none.

    Returns:
        Dict from method to float array `(seeds, trials)`, the best loss so far.
    """
    made = {
        "MetaOracle": lambda seed: MetaOracle(
            OBJECTIVE, max_trials=trials, experience=pool, learn=False, seed=seed
        ),
        "RandomSearch": lambda seed: keras_tuner.oracles.RandomSearchOracle(
            OBJECTIVE, max_trials=trials, seed=seed
        ),
    }
    return {
        name: np.array([best_by_trial(oracle(seed), epochs) for seed in seeds])
        for name, oracle in made.items()
    }


def run(folder, past_trials, trials, epochs, seeds):
    """Fills a pool in a folder and compares; returns JSON values."""
    pool = ExperiencePool(pathlib.Path(folder) / "searches.sqlite")
    fill(pool, past_trials, epochs)
    curves = compare(pool, trials, epochs, seeds)
    return {
        "past_trials": pool.num_trials,
        "seeds": list(seeds),
        "best_val_loss": {name: c.mean(axis=0).tolist() for name, c in curves.items()},
    }


def show(results):
    """Prints the best loss so far, by trials, mean over seeds."""
    curves = results["best_val_loss"]
    count = len(next(iter(curves.values())))
    shown = [n for n in (1, 2, 4, 6, 8, 12, 16) if n <= count]
    lines = rich.table.Table(
        title=f"Best validation loss on {NEW_TABLE} after so many trials",
        caption=f"Mean over {len(results['seeds'])} searches. MetaOracle starts from "
        f"{results['past_trials']} trials on {', '.join(PAST_TABLES)}.",
    )
    for name in ("search", *map(str, shown)):
        lines.add_column(name)
    for name, curve in curves.items():
        lines.add_row(name, *[f"{curve[n - 1]:.3f}" for n in shown])
    rich.console.Console().print(lines)
