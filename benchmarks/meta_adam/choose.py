"""Chooses between controllers on the validation tasks, and writes the preset.

    python benchmarks/meta_adam/choose.py RUN ... --output meta_adam_default.kmeta

Candidates are each run's averaged theta, their mean, and the mean shrunk towards zero
(towards plain Adam), which validation tasks tell apart by `validation.score`. The
preset's card holds the configuration, the tasks and what was measured.
"""

import argparse
import json
import pathlib

import families
import keras
import numpy as np
import validation

from keras_meta.optimizers import MetaAdam
from keras_meta.presets import Preset

HERE = pathlib.Path(__file__).parent
SHRINKS = (0.7, 0.85, 1.0)


def candidates(runs):
    """Returns dict of label to theta."""
    thetas = {run.name: validation.load_theta(run / "theta.npz") for run in runs}
    mean = {
        key: np.mean([theta[key] for theta in thetas.values()], axis=0)
        for key in next(iter(thetas.values()))
    }
    made = dict(thetas) if len(runs) > 1 else {}
    for shrink in SHRINKS:
        made[f"mean * {shrink}"] = {
            key: value if key == "decay" else (shrink * value).astype("float32")
            for key, value in mean.items()
        }
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--measured", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path)
    options = parser.parse_args()
    if options.cache:
        validation.use_cache(options.cache)
    made = candidates(options.runs)
    found = validation.measured(made, options.measured)
    scores = {label: validation.score(found, label) for label in made}
    for label, value in scores.items():
        print(label, round(value, 4), validation.summary(found, label))
    chosen = min(scores, key=scores.get)
    print("chosen:", chosen)
    config = json.loads((options.runs[0] / "config.json").read_text())
    optimizer = MetaAdam(weights=None, seed=0)
    card = {
        "title": "MetaAdam's controller, meta-learned on mixed small networks",
        "optimizer": keras.saving.serialize_keras_object(optimizer),
        "trained_on": {
            "families": list(families.training_families()),
            "config": config,
            "runs": len(options.runs),
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
