"""Start a hyperparameter search from earlier ones, with KerasTuner.

Small networks are searched at random on three of scikit-learn's tables, as one would
have done before; their trials go into a pool, one SQLite file. Then a new table, the
digits, is searched with `MetaOracle`, which starts from the pool, and with KerasTuner's
random search, three seeds each. At the end the pool says which hyperparameters matter.

Run it with `python examples/warm_start_search.py`; it needs scikit-learn and
matplotlib, and about four minutes on two cores. Writes searches.sqlite,
warm_start_search.png and importance.png into `--folder`.
"""

import argparse
import pathlib

import numpy as np
from matplotlib.figure import Figure

import keras_meta
from keras_meta.demo import warm_start


def plot(curves, path):
    """Draws the best validation loss so far, mean and range over seeds."""
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    panel = figure.subplots()
    for name, losses in curves.items():
        trials = np.arange(1, losses.shape[1] + 1)
        panel.plot(trials, losses.mean(axis=0), "-o", label=name)
        panel.fill_between(trials, losses.min(axis=0), losses.max(axis=0), alpha=0.2)
    panel.set_xlabel("trials")
    panel.set_ylabel(f"best validation loss on {warm_start.NEW_TABLE}")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--quick", action="store_true", help="a few trials only")
    options = parser.parse_args()
    past_trials, trials, epochs, seeds = (
        (1, 1, 1, (1,)) if options.quick else (20, 10, 8, (1, 2, 3))
    )

    pool = keras_meta.tuner.ExperiencePool(options.folder / "searches.sqlite")
    # Searches that you have run already are read by `pool.import_project(folder)`.
    warm_start.fill(pool, past_trials, epochs)
    print(f"{len(pool)} past searches, {pool.num_trials} trials.")

    curves = warm_start.compare(pool, trials, epochs, seeds)
    for name, losses in curves.items():
        shown = ", ".join(f"{loss:.3f}" for loss in losses.mean(axis=0))
        print(f"{name:>12}: best validation loss so far {shown}")
    plot(curves, options.folder / "warm_start_search.png")

    if pool.num_trials >= 18:
        found = keras_meta.tuner.importance(pool)
        for name, share, low, high, alone in found.rows():
            print(
                f"{name:>14}: {share:.2f} ({low:.2f} to {high:.2f}) of the variance, "
                f"{alone:.2f} alone"
            )
        found.save_plot(options.folder / "importance.png")
    if options.quick:
        print("With --quick these numbers mean nothing: they show that it runs.")


if __name__ == "__main__":
    main()
