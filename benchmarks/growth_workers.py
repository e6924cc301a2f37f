"""Does the work of one point of a curve, timed on request; see `cost_growth.py`.

A worker prints `ready`; then for each line that it reads the seconds of `--steps`
meta-steps, or a JSON list: of a search's first suggestion and of a later one. At its
end it prints the MiB by which its peak memory lies above what it held before the work,
when packages were imported and the past of a search was written; and how meta-steps
were computed.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

CONV_FILTERS = 16
OPTIMIZER_RUNS, OPTIMIZER_ROWS, WINDOW = 16, 10, 20
FEW_RUNS = 4  # Where runs have many weights.
TRIALS = 50  # of each past search
SUGGESTIONS = 5
DIMENSIONS = 6


def pin(core):
    """Keeps all threads of this process on a core (Linux)."""
    for thread in pathlib.Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def resident_mebibytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mebibytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def conclude(before, way):
    """Prints a worker's last line, for `before` MiB held before the work."""
    grown = peak_mebibytes() - before
    print(json.dumps({"mebibytes": grown, "way": way}), flush=True)


def meta_trainer(network, inner_steps=1, width=None):
    """Returns a compiled trainer and its tasks."""
    import keras
    from meta_step_problems import OUTER_RATE, QUERIES, RATE
    from meta_step_workers import keras_meta_tasks, keras_model

    import keras_meta

    model, loss = keras_model(network, CONV_FILTERS)
    if width:
        layers = [keras.layers.Dense(size, "relu") for size in (width, width)]
        model = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)])
    trainer = keras_meta.MetaTrainer(
        model,
        keras_meta.MetaSGD(alpha_init=RATE, seed=0),
        inner_steps=inner_steps,
        seed=0,
    )
    trainer.compile(keras.optimizers.Adam(OUTER_RATE), loss)
    return trainer, keras_meta_tasks(network, QUERIES)[0]


def optimizer_trainer(problem, truncation=WINDOW):
    """Returns a compiled trainer of a learned optimizer and its problem."""
    import keras

    import keras_meta

    trainer = keras_meta.OptimizerTrainer(
        keras_meta.LSTMOptimizer(seed=0),
        horizon=10 * truncation,
        truncation=truncation,
        seed=0,
    )
    trainer.compile(keras.optimizers.Adam(1e-6))
    return trainer, problem


def made(curve, x):
    """Returns the trainer, the tasks and the meta-batch size of a point."""
    from keras_meta import tasks

    if curve == "conv tasks":
        return *meta_trainer("conv"), x
    if curve == "dense tasks":
        return *meta_trainer("dense"), x
    if curve == "conv inner steps":
        return *meta_trainer("conv", x), 4
    if curve == "dense inner steps":
        return *meta_trainer("dense", x), 25
    if curve == "the same, 3 tasks":
        return *meta_trainer("dense", x), 3
    if curve == "dense parameters":
        width = round((x + 3) ** 0.5 - 2)  # (w + 2)² - 3 weights in 1-w-w-1
        return *meta_trainer("dense", width=width), 8
    if curve == "optimizer parameters":
        return *optimizer_trainer(tasks.Rosenbrock(x)), FEW_RUNS
    return *optimizer_trainer(tasks.Quadratic(OPTIMIZER_ROWS), x), OPTIMIZER_RUNS


def train(options):
    """Takes meta-steps; each turn is an epoch of one `fit`."""
    import keras
    import numpy  # noqa: F401
    import tensorflow as tf
    from fit_turns import FitTurns

    import keras_meta  # noqa: F401

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)

    class Turns(FitTurns):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                pin(options.core)
            super().on_epoch_begin(epoch, logs)

    before = resident_mebibytes()
    trainer, tasks, meta_batch_size = made(options.curve, options.x)
    trainer.fit(
        tasks,
        meta_batch_size,
        steps_per_epoch=options.steps,
        epochs=10**6,
        callbacks=[Turns()],
        verbose=0,
    )
    conclude(before, "XLA" if trainer.jit_compile else "plain graph")


def hyperparameters():
    import keras_tuner

    values = keras_tuner.HyperParameters()
    for index in range(DIMENSIONS):
        values.Float(f"x{index}", 0.0, 1.0)
    return values


def score(point, optimum):
    """Returns the score of values: the nearer to the optimum, the higher."""
    return -sum((value - o) ** 2 for value, o in zip(point, optimum, strict=True))


def write_past(path, searches):
    """Writes a new pool of random past searches of related functions."""
    import numpy as np

    import keras_meta

    random = np.random.default_rng(0)
    space = hyperparameters().get_config()["space"]
    with keras_meta.tuner.ExperiencePool(path) as pool:
        for index in range(searches):
            optimum = random.uniform(0.3, 0.7, DIMENSIONS)
            points = random.uniform(size=(TRIALS, DIMENSIONS))
            trials = [
                {
                    "values": {f"x{i}": float(value) for i, value in enumerate(point)},
                    "score": float(score(point, optimum)),
                }
                for point in points
            ]
            pool.add(f"search {index}", space, trials, "score", "max")


def search(options):
    """Begins a search a turn, each with a pool that has pretrained nothing yet."""
    import keras_tuner

    import keras_meta

    objective = keras_tuner.Objective("score", "max")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        past = folder / "past.sqlite"
        write_past(past, options.x // TRIALS)
        pin(options.core)
        before = resident_mebibytes()
        print("ready", flush=True)
        for turn, _ in enumerate(sys.stdin):
            pool = folder / f"pool_{turn}.sqlite"
            pool.write_bytes(past.read_bytes())
            oracle = keras_meta.tuner.MetaOracle(
                objective,
                max_trials=100,
                hyperparameters=hyperparameters(),
                experience=pool,
                learn=False,
                seed=turn,
            )
            oracle.verbose = 0
            oracle._set_project_dir(str(folder / f"project_{turn}"), "search")
            seconds = []
            for _ in range(SUGGESTIONS + 1):
                begin = time.perf_counter()
                trial = oracle.create_trial("tuner")
                seconds.append(time.perf_counter() - begin)
                values = list(trial.hyperparameters.values.values())
                reached = score(values, [0.4] * DIMENSIONS)
                oracle.update_trial(trial.trial_id, {"score": reached})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
            mean = sum(seconds[1:]) / SUGGESTIONS
            print(json.dumps([seconds[0], mean]), flush=True)
        conclude(before, "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("curve")
    parser.add_argument("--x", type=int, required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    if options.curve == "past trials":
        search(options)
    else:
        train(options)


if __name__ == "__main__":
    main()
