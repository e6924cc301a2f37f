"""Remakes the preset of `LSTMOptimizer(weights="default")`, and measures it in `fit`.

Meta-training: networks of one to three layers of random width on four of
scikit-learn's tables (breast cancer, diabetes, iris, wine) and on random mixtures of
normals, logistic regressions and quadratics, most of them with weights of random scale
(`Reparametrized`), for 40 to 500 steps. It continues where it was stopped, from
`--checkpoints`.

Measurement: plain `compile` and `fit` of models and data that were not trained on, the
digits and, in the folder `KERAS_META_DATA`, MNIST; 3 seeds each, beside Adam at its
default rate and at the best rate of a grid for each model, chosen on the very training
losses that are compared. A quarter of the rows, drawn at random, is held out. Writes
`results/default_lstm.json` and `CHECKPOINTS/lstm_default.kmeta`.

    python benchmarks/default_lstm.py [--quick]
"""

import argparse
import functools
import pathlib

import keras
import numpy as np
from learned_optimizers import LOSS, images, meta_trained
from recording import machine, write_json
from sklearn.datasets import load_digits

import keras_meta
from keras_meta import tasks
from keras_meta.demo.shipped_optimizer import BatchLosses

HERE = pathlib.Path(__file__).parent
NAME = "lstm_default"
TABLES = ("breast_cancer", "diabetes", "iris", "wine")
EPOCHS, STEPS_PER_EPOCH = 60, 25
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (0, 1, 2)
LAST = 20  # batches whose mean loss is compared
HELD_OUT = 0.25
KEPT = ("loss", "val_loss", "val_accuracy")


def mixtures(seed, examples=2_000):
    """Returns `(x, y)` of 2 to 10 classes, each of two normals in 8 to 64 features."""
    random = np.random.default_rng(seed)
    classes, features = random.integers(2, 11), random.integers(8, 65)
    centres = random.normal(size=(classes, 2, features))
    y = random.integers(classes, size=examples)
    x = centres[y, random.integers(2, size=examples)]
    x = x + random.uniform(0.5, 2.5) * random.normal(size=x.shape)
    return x.astype("float32"), y


def problems():
    """Returns the problems of meta-training."""
    wide = {"units": (8, 64), "layers": (1, 3), "initial_scale": (0.7, 1.5)}
    networks = tasks.table_problems(count=2, tables=TABLES, seed=0, **wide)
    for seed in range(6):
        networks += tasks.network_family(*mixtures(seed), count=1, seed=seed, **wide)
    scaled = [
        tasks.Reparametrized(network, tensor_scales=(0.3, 3.0))
        if index % 3
        else network
        for index, network in enumerate(networks)
    ]
    return [*scaled, tasks.Quadratic(), tasks.LogisticRegression(batch_size=32)]


def trained(folder, quick):
    """Meta-trains, or what is left of it; returns the trainer and the seconds."""
    steps, epochs = (2, 1) if quick else (STEPS_PER_EPOCH, EPOCHS)
    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(inputs="normalized", seed=0),
        horizon=(40, 500),
        curriculum=steps * epochs // 3,
        meta_objective="log",
        task_clipnorm=1.0,
        seed=0,
        name=NAME,
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps * epochs)
    trainer.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    family = problems()
    schedule = {
        "meta_batch_size": len(family),
        "steps_per_epoch": steps,
        "epochs": epochs,
    }
    seconds = meta_trained(trainer, family, schedule, folder, minutes=600.0)
    return trainer, seconds


def models():
    """Returns dict of name to `(build, x, y, batch_size, epochs)`."""
    layers = keras.layers
    digits = load_digits()
    pixels = (digits.data / 16.0).astype("float32")
    x, y, data = images()

    def dense(*units):
        return lambda inputs: keras.Sequential(
            [
                keras.Input((inputs,)),
                *[layers.Dense(n, "relu") for n in units],
                layers.Dense(10),
            ]
        )

    def convolutional(inputs):
        side = round(inputs**0.5)
        return keras.Sequential(
            [
                keras.Input((inputs,)),
                layers.Reshape((side, side, 1)),
                layers.Conv2D(16, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10),
            ]
        )

    cases = {
        "digits, dense 96": (dense(96), pixels, digits.target, 64, 24),
        "digits, dense 96, long": (dense(96), pixels, digits.target, 64, 96),
        "digits, dense 64-64-64": (dense(64, 64, 64), pixels, digits.target, 32, 12),
        "digits, convolutional": (convolutional, pixels, digits.target, 64, 24),
    }
    if data == "MNIST":
        cases["MNIST, dense 64-32"] = (dense(64, 32), x, y, 128, 7)
    return cases


def fitted(case, optimizer, seed):
    """Trains a model by plain `fit`.

    Returns:
        Dict of the mean `loss` of the last `LAST` batches, `val_loss` and
        `val_accuracy` on the rows held out, and the number of `steps`.
    """
    build, x, y, batch_size, epochs = case
    keras.utils.set_random_seed(seed)
    model = build(x.shape[1])
    model.compile(optimizer=optimizer, loss=LOSS, metrics=["accuracy"])
    batches = BatchLosses()
    order = np.random.default_rng(seed).permutation(len(x))
    train, held_out = np.split(order, [round((1.0 - HELD_OUT) * len(x))])
    # Batches of one size weigh the same.
    train = train[: len(train) // batch_size * batch_size]
    model.fit(
        x[train],
        y[train],
        batch_size=batch_size,
        epochs=epochs,
        callbacks=[batches],
        verbose=0,
    )
    val_loss, val_accuracy = model.evaluate(x[held_out], y[held_out], verbose=0)
    return {
        "loss": float(np.mean(batches.losses[-LAST:])),
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "steps": len(batches.losses),
    }


def measured(path, quick):
    """Returns a row for each model."""
    rows = []
    seeds, rates = (SEEDS[:1], RATES[2:3]) if quick else (SEEDS, RATES)
    made = {"learned": lambda: keras_meta.LSTMOptimizer.from_preset(path)}
    for rate in rates:
        made[f"Adam({rate:g})"] = functools.partial(keras.optimizers.Adam, rate)
    for name, case in models().items():
        if quick:
            case = (*case[:-1], 1)
        row = {"case": name, "seeds": list(seeds), "runs": {}}
        for label, optimizer in made.items():
            runs = [fitted(case, optimizer(), seed) for seed in seeds]
            row["runs"][label] = runs
            row["steps"] = runs[0]["steps"]
        rows.append(row)
        means = {
            label: [round(float(np.mean([r[k] for r in runs])), 4) for k in KEPT]
            for label, runs in row["runs"].items()
        }
        print(name, row["steps"], "steps", KEPT, means, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--checkpoints", type=pathlib.Path, default=HERE / "runs")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results")
    options = parser.parse_args()
    folder = options.checkpoints / "default_lstm"
    folder.mkdir(parents=True, exist_ok=True)
    trainer, seconds = trained(folder, options.quick)
    path = options.checkpoints / f"{NAME}.kmeta"
    trainer.save_preset(path, title="LSTM optimizer, learned on mixed small problems")
    rows = measured(path, options.quick)
    write_json(
        options.output / "default_lstm.json",
        {
            "machine": machine(),
            "meta_steps": int(trainer.meta_step),
            "meta_training_seconds": seconds,
            "last": LAST,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
