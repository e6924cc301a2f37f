"""The problems of "learning to learn by gradient descent by gradient descent".

Andrychowicz et al. 2016, arXiv:1606.04474, figure 4: `LSTMOptimizer` is meta-trained
on random 10-dimensional quadratics, and on training a network of 20 sigmoid units on
MNIST for 100 steps; then it runs beside Adam, RMSprop, SGD, SGD with momentum and
Nesterov's on new problems, 128 quadratics, 16 starts of the network. Each of these
has the best rate of the grid `RATES`, chosen on these very test problems by the mean
loss that is compared: after the last step for quadratics, of the last ten steps for
networks. The learned optimizer has nothing to choose; it was trained on one network
and also runs for 200 steps, with 40 units, and with two layers of 20. For the network
it first imitates the best of these rules (Chen et al. 2020), which is found on other
starts; then all 100 steps are differentiated, inner gradients included: windows of 20
or 50 steps, and gradients taken as constants, made it worse than its teacher.

MNIST is mnist_12k.npz in `KERAS_META_DATA`; without it, scikit-learn's digits. Each
meta-training continues where it was stopped, from `--checkpoints`, and stops within
`--minutes`. Writes `results/learned_optimizers_PROBLEM.json`.

    python benchmarks/learned_optimizers.py {quadratics,network} [--quick]
"""

import argparse
import os
import pathlib
import time

import keras
import numpy as np
from recording import machine, write_json

import keras_meta
from keras_meta.tasks import Quadratic, TrainingProblem
from keras_meta.training.long_runs.loss_curves import (
    BASELINES,
    RATES,
    best_of_rates,
    loss_curves,
)

HERE = pathlib.Path(__file__).parent
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
Z_95 = 1.96
TEACHER_SEED = 1  # The comparison's starts are those of seed 0.
SHOWN_STEPS = (10, 20, 50, 100, 200)


def images():
    """Returns `(x, y, name)`, training images as float32 rows in [0, 1]."""
    folder = os.environ.get("KERAS_META_DATA")
    path = folder and pathlib.Path(folder) / "mnist_12k.npz"
    if path and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            x, y = file["x_train"], file["y_train"]
        return (
            x.reshape(len(x), -1).astype("float32") / 255.0,
            y.astype("int64"),
            "MNIST",
        )
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.data / 16.0).astype("float32"), digits.target, "digits"


def network(x, y, units=(20,), activation="sigmoid"):
    """Returns the problem of training such a network, batches of 128."""
    layers = [keras.layers.Dense(n, activation) for n in units]
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), *layers, keras.layers.Dense(10)]
    )
    return TrainingProblem(model, x, y, LOSS, batch_size=128)


def compared(name, problem, optimizer, steps, episodes, last):
    """Returns a row: the learned optimizer beside each baseline at its best rate."""
    learned = loss_curves(optimizer, problem, steps, episodes, batch=min(episodes, 16))
    ours = learned[:, -last:].mean(axis=1)
    row = {"case": name, "steps": steps, "problems": episodes, "last": last}
    row["learned"] = _summary(learned, ours)
    row["baselines"] = {}
    for label, rule in BASELINES.items():
        curves = loss_curves(
            rule(0.1), problem, steps, episodes, batch=min(episodes, 16), rates=RATES
        )
        rate, best = best_of_rates(curves, RATES, last)
        theirs = best[:, -last:].mean(axis=1)
        difference = ours - theirs
        row["baselines"][label] = {
            "rate": rate,
            **_summary(best, theirs),
            "learned_minus_this": float(difference.mean()),
            "learned_minus_this_ci95": _ci95(difference),
        }
        print(name, label, rate, row["baselines"][label]["compared"], flush=True)
    print(name, "learned", row["learned"]["compared"], flush=True)
    return row


def _summary(curves, ends):
    steps = [s for s in SHOWN_STEPS if s < curves.shape[1]]
    return {
        "compared": float(ends.mean()),
        "ci95": _ci95(ends),
        "curve": {str(s): float(curves[:, s].mean()) for s in steps},
    }


def _ci95(values):
    return float(Z_95 * values.std(ddof=1) / np.sqrt(len(values)))


class OutOfTime(keras.callbacks.Callback):
    """Stops meta-training after so many seconds, counted over all its pieces."""

    def __init__(self, path, limit):
        super().__init__()
        self.path, self.limit = path, limit
        self.before = float(path.read_text()) if path.exists() else 0.0

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self.before + time.perf_counter() - self.start
        self.path.write_text(str(seconds))
        self.model.stop_training = seconds > self.limit


def meta_trained(trainer, tasks, schedule, folder, minutes):
    """Meta-trains, or what is left of it; returns the seconds it took in all."""
    clock = folder / f"{trainer.name}.seconds"
    trainer.fit(
        tasks,
        **schedule,
        callbacks=[
            OutOfTime(clock, 60.0 * minutes),
            keras.callbacks.BackupAndRestore(
                folder / trainer.name, delete_checkpoint=False
            ),
        ],
        verbose=2,
    )
    return float(clock.read_text())


def quadratics(options, folder):
    """Returns the rows of the quadratics."""
    epochs = 1 if options.quick else 16
    schedule = {"meta_batch_size": 64, "steps_per_epoch": 500, "epochs": epochs}
    if options.quick:
        schedule["steps_per_epoch"] = 10
    rate = keras.optimizers.schedules.CosineDecay(
        5e-3, epochs * schedule["steps_per_epoch"]
    )
    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(inputs="log_sign", seed=0),
        horizon=100,
        seed=0,
        name="quadratics",
    )
    trainer.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    seconds = meta_trained(trainer, Quadratic(), schedule, folder, options.minutes)
    optimizer = trainer.learned_optimizer()
    rows = [compared("quadratics", Quadratic(), optimizer, 100, 128, last=1)]
    return trainer, seconds, rows


def best_teacher(problem, quick):
    """Returns `(label, rate)` of the best hand-made rule on starts of its own."""
    steps, episodes = (10, 2) if quick else (100, 8)
    found = []
    for label, rule in BASELINES.items():
        curves = loss_curves(
            rule(0.1), problem, steps, episodes, TEACHER_SEED, episodes, rates=RATES
        )
        rate, best = best_of_rates(curves, RATES, 10)
        found.append((float(best[:, -10:].mean()), label, rate))
    print("hand-made rules on other starts", sorted(found), flush=True)
    return min(found)[1:]


def networks(options, folder):
    """Returns the rows of the networks."""
    x, y, data = images()
    problem = network(x, y)
    label, rate = best_teacher(problem, options.quick)
    imitation = keras_meta.OptimizerTrainer(
        # Nearly all gradients are below exp(-5) here, where this input is linear.
        keras_meta.LSTMOptimizer(inputs="log_sign", log_scale=5.0, seed=0),
        horizon=200,
        seed=0,
        name=f"network_{data}_imitation",
    )
    per_epoch, epochs = (2, 1) if options.quick else (40, 15)
    schedule = {"meta_batch_size": 1, "steps_per_epoch": per_epoch, "epochs": epochs}
    decay = keras.optimizers.schedules.CosineDecay(3e-3, per_epoch * epochs)
    imitation.compile(keras.optimizers.Adam(decay, global_clipnorm=1.0))
    seconds = meta_trained(
        imitation,
        problem,
        schedule | {"teacher": BASELINES[label](rate)},
        folder,
        options.minutes,
    )
    trainer = keras_meta.OptimizerTrainer(
        imitation.learned_optimizer(),
        horizon=100,
        truncation=100,
        meta_objective="log",
        second_order=True,
        task_clipnorm=1.0,
        seed=1,
        name=f"network_{data}",
    )
    per_epoch, epochs = (2, 1) if options.quick else (20, 20)
    schedule = {"meta_batch_size": 1, "steps_per_epoch": per_epoch, "epochs": epochs}
    decay = keras.optimizers.schedules.CosineDecay(5e-4, per_epoch * epochs)
    trainer.compile(keras.optimizers.Adam(decay, global_clipnorm=1.0))
    seconds += meta_trained(trainer, problem, schedule, folder, options.minutes)
    optimizer = trainer.learned_optimizer()
    episodes = 2 if options.quick else 16
    rows = []
    for name, units, steps in (
        ("as trained", (20,), 100),
        ("200 steps", (20,), 200),
        ("40 units", (40,), 100),
        ("2 layers", (20, 20), 100),
    ):
        case = network(x, y, units)
        rows.append(compared(name, case, optimizer, steps, episodes, last=10))
        rows[-1] |= {"data": data, "teacher": f"{label} of rate {rate:g}"}
    return trainer, seconds, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", choices=["quadratics", "network"])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--checkpoints", type=pathlib.Path, default=HERE / "runs")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results")
    options = parser.parse_args()
    folder = options.checkpoints / "learned_optimizers"
    folder.mkdir(parents=True, exist_ok=True)
    run = quadratics if options.problem == "quadratics" else networks
    trainer, seconds, rows = run(options, folder)
    trainer.save_preset(folder / f"{trainer.name}.kmeta")
    write_json(
        options.output / f"learned_optimizers_{options.problem}.json",
        {
            "machine": machine(),
            "meta_steps": int(trainer.meta_step),
            "meta_training_seconds": seconds,
            "rates": list(RATES),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
