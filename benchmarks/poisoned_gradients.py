"""MetaAdam and Adam where training goes wrong: NaN, spikes, labels that change.

Tasks of the release gate in plain `fit`, 1,000 steps, 3 seeds. In 1 % of the batches
the examples' weights are NaN, or 1e6 (so that loss and gradient are); or half-way all
labels are permuted. Compared: the loss on 2,000 clean training examples at the end
(with the permuted labels, where they were). Rows are kept in `--runs`: a program that
was stopped goes on. Writes `results/poisoned_gradients.json`.

    python benchmarks/poisoned_gradients.py [--quick]
"""

import argparse
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from gate_tasks import gate_tasks
from recording import machine, write_json
from release_gate import Trained, weights_of

import keras_meta

HERE = pathlib.Path(__file__).parent
TASKS = (
    "fashion mlp",
    "fashion cnn",
    "emnist autoencoder",
    "shakespeare gru",
    "m4 mlp",
)
POISONS = ("none", "nan", "spikes", "permuted labels")
SHARE = 0.01
EVALUATED = 2_000
OPTIMIZERS = {
    "MetaAdam": lambda: keras_meta.MetaAdam(),
    "MetaAdam(safeguard=False)": lambda: keras_meta.MetaAdam(safeguard=False),
    "Adam(0.001)": lambda: keras.optimizers.Adam(1e-3),
}


def batches(x, y, size, steps, poison, seed):
    """Returns a dataset of `(x, y, weights)`, and labels as they are at the end."""
    random = np.random.default_rng(seed)
    permuted = y[random.permutation(len(y))]
    rows = random.integers(len(x), size=(steps, size))
    weights = np.ones(steps, "float32")
    if poison in ("nan", "spikes"):
        hit = random.permutation(steps)[: max(1, round(SHARE * steps))]
        weights[hit] = {"nan": np.nan, "spikes": 1e6}[poison]
    # Of sequences of classes each place has a loss, and so a weight.
    places = y.shape[1:] if np.issubdtype(y.dtype, np.integer) else ()
    shape = (size, *places)
    late = np.arange(steps) >= (steps // 2 if poison == "permuted labels" else steps)

    def draw():
        for index in range(steps):
            labels = permuted if late[index] else y
            batch = rows[index]
            yield x[batch], labels[batch], np.full(shape, weights[index], "float32")

    signature = tuple(
        tf.TensorSpec((size, *array.shape[1:]), array.dtype) for array in (x, y)
    )
    data = tf.data.Dataset.from_generator(
        draw, output_signature=(*signature, tf.TensorSpec(shape, "float32"))
    )
    data = data.apply(tf.data.experimental.assert_cardinality(steps))
    return data, permuted if late.any() else y


def final_loss(trained, poison, seed, steps):
    """Returns the clean loss at the end, and the safeguard's counters."""
    trained.start(seed)
    task, model = trained.task, trained.model
    x, y, _, _ = task.data()
    data, labels = batches(x, y, task.batch_size, steps, poison, seed)
    model.fit(data.prefetch(2), shuffle=False, verbose=0)
    scores = model.evaluate(
        x[:EVALUATED],
        labels[:EVALUATED],
        verbose=0,
        batch_size=500,
        return_dict=True,
    )
    counters = getattr(model.optimizer, "safeguard_counters", {})
    return float(scores["loss"]), counters


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument(
        "--output", default=HERE / "results" / "poisoned_gradients.json"
    )
    parser.add_argument("--runs", type=pathlib.Path, help="default: runs/poisoned")
    options = parser.parse_args()
    tasks, steps, seeds = gate_tasks(), 1_000, (0, 1, 2)
    names = TASKS
    if options.quick:
        names, steps, seeds = TASKS[:1], 20, (0,)
    weights = weights_of(keras_meta.MetaAdam())
    folder = options.runs or HERE / "runs" / "poisoned"
    folder = folder / f"{weights}_{steps}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names:
        path = folder / f"{name.replace(' ', '_')}.json"
        if path.exists():
            rows += json.loads(path.read_text())
            continue
        kept = {
            label: Trained(tasks[name], made()) for label, made in OPTIMIZERS.items()
        }
        for poison in POISONS:
            row = {"task": name, "poison": poison, "losses": {}, "counters": {}}
            for label, trained in kept.items():
                runs = [final_loss(trained, poison, seed, steps) for seed in seeds]
                # JSON knows no NaN: a run that did not stay finite is null.
                losses = [loss if np.isfinite(loss) else None for loss, _ in runs]
                row["losses"][label] = losses
                row["counters"][label] = [counters for _, counters in runs]
            rows.append(row)
            print(name, poison, row["losses"], flush=True)
        path.write_text(json.dumps(rows[-len(POISONS) :]))
    write_json(options.output, {"machine": machine(), "steps": steps, "rows": rows})


if __name__ == "__main__":
    main()
