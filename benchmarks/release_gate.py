"""The release gate: MetaAdam beside tuned optimizers, on tasks that it never saw.

Every run is plain `compile` and `fit` of a Keras model, 3 seeds, 200 and 2,000 steps
(10,000 for the long tasks). Baselines: Adam, AdamW and SGD with momentum on a grid of
five rates each, ScheduleFreeAdamW on three, Adam's with cosine decay too. Final loss:
the mean over the last twentieth of the steps, as `fit` reports it. Runs are kept in
`--runs`, one file a task, so that a program that was stopped goes on; those of other
weights of MetaAdam are run again. Writes `results/release_gate.json`.

    python benchmarks/release_gate.py [--tasks NAME ...] [--part I/N] [--quick]
"""

import argparse
import hashlib
import json
import math
import pathlib
import time

import keras
import tensorflow as tf
from gate_tasks import gate_tasks
from recording import machine, write_json

import keras_meta

HERE = pathlib.Path(__file__).parent
LENGTHS, LONG = (200, 2_000), 10_000
SEEDS = (0, 1, 2)
PARTS = 20  # epochs of a run
RATES = {
    "Adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "AdamW": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "ScheduleFreeAdamW": (1e-3, 2.5e-3, 1e-2),  # 0.0025 is Keras' default
    "SGD momentum": (1e-3, 1e-2, 3e-2, 1e-1, 3e-1),
}
WITH_CURVES = ("MetaAdam", "Adam 0.001")


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate, or one that falls as a cosine; both may change between runs."""

    def __init__(self):
        self.first = tf.Variable(0.0)
        self.steps = tf.Variable(0.0)  # 0: constant

    def __call__(self, step):
        share = tf.minimum(tf.cast(step, "float32") / tf.maximum(self.steps, 1.0), 1.0)
        factor = 0.5 * (1.0 + tf.cos(math.pi * share))
        return self.first * tf.where(self.steps > 0.0, factor, 1.0)

    def get_config(self):
        return {}


def baseline(name, rate):
    """Returns an optimizer with the schedule `rate`."""
    if name == "Adam":
        return keras.optimizers.Adam(rate)
    if name == "AdamW":
        return keras.optimizers.AdamW(rate)
    if name == "ScheduleFreeAdamW":
        return keras.optimizers.ScheduleFreeAdamW(rate, warmup_steps=0)
    return keras.optimizers.SGD(rate, momentum=0.9)


class Trained:
    """A compiled model that is trained again and again from other first weights."""

    def __init__(self, task, optimizer):
        self.task, self.optimizer = task, optimizer
        self.model = task.build()
        self.model.compile(
            optimizer,
            loss=task.loss,
            metrics=task.metrics,
            jit_compile=task.xla,
            steps_per_execution=10,
        )
        optimizer.build(self.model.trainable_variables)
        self.first = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]

    def start(self, seed):
        """Takes the first weights of a seed; the compiled functions are kept."""
        keras.utils.set_random_seed(seed)
        for variable, fresh in zip(
            self.model.variables, self.task.build().variables, strict=True
        ):
            variable.assign(fresh)
        for variable, array in zip(self.optimizer.variables, self.first, strict=True):
            variable.assign(array)
        if isinstance(self.optimizer, keras.optimizers.ScheduleFreeAdamW):
            # Its momenta begin where the weights do.
            weights = self.model.trainable_variables
            for slot, weight in zip(self.optimizer._momentums, weights, strict=True):
                slot.assign(weight)

    def run(self, seed, steps):
        """Trains for `steps` steps; returns what `fit` and `evaluate` report."""
        self.start(seed)
        x, y, *validation = self.task.data()
        data = tf.data.Dataset.from_tensor_slices((x, y))
        data = data.shuffle(len(x), seed=seed).repeat().batch(self.task.batch_size)
        epochs = PARTS
        began = time.perf_counter()
        history = self.model.fit(
            data.prefetch(2),
            epochs=epochs,
            steps_per_epoch=steps // epochs,
            shuffle=False,
            verbose=0,
        ).history
        seconds = time.perf_counter() - began
        scores = self.model.evaluate(
            *validation, verbose=0, return_dict=True, batch_size=500
        )
        return {
            "curve": history["loss"],
            "loss": history["loss"][-1],
            "accuracy": history.get("accuracy", [None])[-1],
            "validation_loss": scores["loss"],
            "validation_accuracy": scores.get("accuracy"),
            "milliseconds": seconds / steps * 1e3,
        }


class Results:
    """What was run already of one task, in a file."""

    def __init__(self, folder, name, task, weights):
        self.path = folder / f"{name.replace(' ', '_')}_{fingerprint(task)}.json"
        self.rows = json.loads(self.path.read_text()) if self.path.exists() else {}
        for key, row in list(self.rows.items()):
            if weights is not None and row.get("weights", weights) != weights:
                del self.rows[key]

    def missing(self, key):
        return key not in self.rows

    def add(self, key, row):
        if not key.startswith(WITH_CURVES):
            row.pop("curve")
        self.rows[key] = {
            name: [rounded(v) for v in value]
            if isinstance(value, list)
            else rounded(value)
            for name, value in row.items()
        }
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.rows))
        partial.replace(self.path)


def fingerprint(task):
    """Returns a short name of a task's model, loss and batches."""
    layers = [
        (type(layer).__name__, [list(weight.shape) for weight in layer.weights])
        for layer in task.build().layers
    ]
    loss = getattr(task.loss, "name", task.loss)
    text = json.dumps([layers, loss, task.batch_size])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value


def run_baselines(task, lengths, seeds, results):
    for name, rates in RATES.items():
        schedules = (False, True) if name == "Adam" else (False,)
        wanted = [
            (
                f"{name} {rate:g}{' cosine' if cosine else ''}, {steps}, {seed}",
                rate,
                steps,
                seed,
                cosine,
            )
            for steps in lengths
            for rate in rates
            for cosine in schedules
            for seed in seeds
        ]
        wanted = [item for item in wanted if results.missing(item[0])]
        if not wanted:
            continue
        schedule = Rate()
        trained = Trained(task, baseline(name, schedule))
        for key, rate, steps, seed, cosine in wanted:
            schedule.first.assign(rate)
            schedule.steps.assign(float(steps) if cosine else 0.0)
            results.add(key, trained.run(seed, steps))


def run_learned(task, lengths, seeds, results, made, weights):
    for steps in (None, *lengths):
        label = "MetaAdam" if steps is None else "MetaAdam, horizon known"
        wanted = [
            (f"{label}, {length}, {seed}", length, seed)
            for length in lengths
            for seed in seeds
            if steps in (None, length)
        ]
        wanted = [item for item in wanted if results.missing(item[0])]
        if not wanted:
            continue
        trained = Trained(task, made(total_steps=steps))
        for key, length, seed in wanted:
            results.add(key, trained.run(seed, length) | {"weights": weights})


def weights_of(optimizer):
    """Returns a short name of an optimizer's learned values."""
    digest = hashlib.sha256()
    for name, array in sorted(optimizer.theta_values().items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()[:12]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--part", default="0/1", help="this part of the tasks, of N")
    parser.add_argument("--only", choices=("baselines", "learned"))
    parser.add_argument("--weights", help="a .kmeta file instead of those that ship")
    parser.add_argument("--runs", type=pathlib.Path, help="default: runs/gate")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", default=HERE / "results" / "release_gate.json")
    options = parser.parse_args()
    if options.runs is None:
        options.runs = HERE / "runs" / ("gate_quick" if options.quick else "gate")
    options.runs.mkdir(parents=True, exist_ok=True)

    def made(**kwargs):
        if options.weights:
            return keras_meta.MetaAdam.from_preset(options.weights, **kwargs)
        return keras_meta.MetaAdam(**kwargs)

    weights = None if options.only == "baselines" else weights_of(made())
    part, parts = (int(number) for number in options.part.split("/"))
    tasks = gate_tasks()
    chosen = options.tasks or list(tasks)[part::parts]
    for name in chosen:
        task = tasks[name]
        results = Results(options.runs, name, task, weights)
        lengths = LENGTHS + ((LONG,) if task.long else ())
        seeds = SEEDS
        if options.quick:
            lengths, seeds = (20,), SEEDS[:1]
        began = time.perf_counter()
        if options.only != "learned":
            run_baselines(task, lengths, seeds, results)
        if options.only != "baselines":
            run_learned(task, lengths, seeds, results, made, weights)
        keras.backend.clear_session()
        print(name, f"{time.perf_counter() - began:.0f} s", flush=True)
    if not options.tasks and parts == 1 and not options.only:
        rows = {
            name: Results(options.runs, name, task, weights).rows
            for name, task in tasks.items()
        }
        write_json(
            options.output, {"machine": machine(), "weights": weights, "rows": rows}
        )


if __name__ == "__main__":
    main()
