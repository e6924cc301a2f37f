"""Few-shot learners on Omniglot: MAML and its family, and metric-based learners.

Protocol: 28x28, rotations by 90 degrees are classes of their own, 15 query images a
class, 600 test episodes, 95 % intervals. Background characters train; evaluation
characters test, and nothing else is done with them: rates, steps and lengths were
chosen with `--validation`, where five background alphabets are held out and tested.
Each run continues where it was stopped, from `--checkpoints`. Writes
`results/omniglot/RUN.json`, and the learner as `CHECKPOINTS/RUN.kmeta`.

    python benchmarks/omniglot.py [RUN ...] [--list] [--validation] [--quick]

It reads omniglot28.npz, or the official archives, from `KERAS_META_DATA`.
"""

import argparse
import dataclasses
import pathlib
import time

import keras
import numpy as np
from omniglot_pretraining import pretrained_weights
from omniglot_runs import RUNS, learner
from omniglot_tasks import MovedImages
from recording import machine, write_json

import keras_meta
from keras_meta.tasks import FewShotClassification, load_omniglot

HERE = pathlib.Path(__file__).parent
TEST_EPISODES = 600
TEST_QUERIES = 15
TEST_SHOTS = (1, 5)
METRIC_TEST_WAYS = (5, 20)
SLICES = 20  # epochs, after each of which the run can be continued
VALIDATION_EVERY = 6  # of the 30 background alphabets, in order of name


def characters(validation):
    """Returns the images to train on and those to test on, `(n, 20, 28, 28)`."""
    images, alphabets = load_omniglot(part="background")
    if not validation:
        return images, load_omniglot(part="evaluation")[0]
    held_out = np.isin(alphabets, sorted(set(alphabets))[::VALIDATION_EVERY])
    return images[~held_out], images[held_out]


def trained(run, images, start, folder):
    """Meta-trains a run, or what is left of it; returns learner and seconds."""
    tasks = MovedImages(
        FewShotClassification(
            images, ways=run.ways, shots=run.shots, queries=run.queries, rotations=True
        ),
        share=run.moved_classes,
    )
    made = learner(run, start)
    begin = time.perf_counter()
    made.fit(
        tasks,
        meta_batch_size=run.meta_batch_size,
        steps_per_epoch=run.iterations // SLICES,
        epochs=SLICES,
        callbacks=[
            keras.callbacks.BackupAndRestore(folder / run.name, delete_checkpoint=False)
        ],
        verbose=2,
    )
    return made, time.perf_counter() - begin


def tested(run, made, images):
    """Returns the accuracies on new characters, a dict from `"5-way 1-shot"`."""
    results = {}
    for ways in METRIC_TEST_WAYS if run.is_metric else (run.ways,):
        for shots in TEST_SHOTS:
            tasks = FewShotClassification(
                images, ways=ways, shots=shots, queries=TEST_QUERIES, rotations=True
            )
            accuracy = made.evaluate(tasks, episodes=TEST_EPISODES, verbose=0)
            results[f"{ways}-way {shots}-shot"] = accuracy["accuracy"]
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help="names; default: all")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--checkpoints", type=pathlib.Path, default=HERE / "runs")
    parser.add_argument(
        "--output", type=pathlib.Path, default=HERE / "results" / "omniglot"
    )
    options = parser.parse_args()
    known = {run.name: run for run in RUNS}
    if options.list:
        print("\n".join(known))
        return
    unknown = sorted(set(options.runs) - set(known))
    if unknown:
        parser.error(f"no such run: {unknown}. Known: {sorted(known)}")
    part = "validation" if options.validation else "evaluation"
    folder = options.checkpoints / part
    folder.mkdir(parents=True, exist_ok=True)
    train, test = characters(options.validation)
    for name in options.runs or known:
        run = known[name]
        if options.quick:
            run = dataclasses.replace(run, iterations=SLICES)
        start, pretraining = pretrained_weights(
            run.net, train, folder, epochs=0 if options.quick else None
        )
        if run.start:
            start = keras_meta.load(folder / f"{run.start}.kmeta")
        made, seconds = trained(run, train, start, folder)
        results = tested(run, made, test)
        if not run.is_metric:
            # In use as many steps as in training: more fall apart on other images.
            made.evaluation_steps = run.inner_steps
        made.save_preset(
            folder / f"{name}.kmeta", title=f"Omniglot, {run.ways}-way, {run.method}"
        )
        row = {
            "run": dataclasses.asdict(run),
            "tested_on": part,
            "parameters": int(made.model.count_params()),
            "pretraining": pretraining,
            "seconds": seconds,
            "accuracy": results,
        }
        print(name, row["accuracy"], flush=True)
        write_json(options.output / f"{name}.json", {"machine": machine(), "row": row})


if __name__ == "__main__":
    main()
