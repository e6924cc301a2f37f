"""Remakes the preset that ships: meta-trains, chooses on the validation tasks.

    python benchmarks/meta_adam/make_preset.py [--folder benchmarks/runs/meta_adam]

Each seed is meta-trained by a process of its own; what was begun goes on. It takes
about an hour and a half on one core, needs the data in `KERAS_META_DATA`, and writes
`keras_meta/presets/data/meta_adam_default.kmeta`.

Candidates are each run's averaged theta, as it is and with outputs shrunk towards
zero (towards plain Adam), which validation tasks tell apart by `validation.score`.
The preset's card holds the configuration, the tasks and what was measured.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import backend  # noqa: F401
import families
import keras
import numpy as np
import train
import validation

from keras_meta.optimizers import MetaAdam
from keras_meta.presets import Preset

HERE = pathlib.Path(__file__).parent
SHRINKS = (0.85, 1.0)
OUTPUTS = ("rate", "hidden/rate", "mixing")


def candidates(runs):
    """Returns dict of label to theta."""
    made = {}
    for run in runs:
        theta = validation.load_theta(run / "theta.npz")
        for shrink in SHRINKS:
            made[f"{run.name} * {shrink}"] = {
                key: np.asarray(value * (shrink if key in OUTPUTS else 1.0), "float32")
                for key, value in theta.items()
            }
    return made


def meta_train(runs, seeds, config):
    """Runs `train.py` for each seed, all at once."""
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(HERE / "train.py"),
                f"--run={run}",
                f"--seed={seed}",
                f"--config={config}",
            ]
        )
        for run, seed in zip(runs, seeds, strict=True)
    ]
    for process in processes:
        if process.wait() != 0:
            raise RuntimeError(f"Meta-training failed: {process.args}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = HERE.parent / "runs" / "meta_adam"
    parser.add_argument("--folder", type=pathlib.Path, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--config", type=pathlib.Path, default=train.CONFIG)
    parser.add_argument(
        "--output", type=pathlib.Path, default=train.CONFIG.with_suffix(".kmeta")
    )
    options = parser.parse_args()
    runs = [options.folder / f"seed_{seed}" for seed in options.seeds]
    meta_train(runs, options.seeds, options.config)
    validation.use_cache(options.folder / "cache")
    made = candidates(runs)
    found = validation.measured(made, options.folder / "validation.json")
    scores = {label: validation.score(found, label) for label in made}
    for label, value in scores.items():
        print(label, round(value, 4), validation.summary(found, label))
    chosen = min(scores, key=scores.get)
    print("chosen:", chosen)
    config = json.loads((runs[0] / "config.json").read_text())
    optimizer = MetaAdam(
        weights=None, seed=0, hidden_units=config["units"], mixing=config["mixing"]
    )
    card = {
        "title": "MetaAdam's controller, meta-learned on mixed small networks",
        "optimizer": keras.saving.serialize_keras_object(optimizer),
        "trained_on": {
            "families": list(families.training_families()),
            "config": config,
            "seeds": options.seeds,
            "chosen": chosen,
        },
        "evaluation": {
            "validation_tasks": list(found["baselines"]),
            "geometric mean and worst ratio of final losses": validation.summary(
                found, chosen
            ),
        },
    }
    Preset(card, made[chosen]).save(options.output)


if __name__ == "__main__":
    main()
