"""Meta-trains MetaAdam's controller over the task families; goes on where it stopped.

    python benchmarks/meta_adam/train.py --run FOLDER [--config FILE] [--seed N]
        [--start FILE]

The folder holds a checkpoint (all runs included, written every four minutes),
TensorBoard logs, the configuration and the averaged theta, `theta.npz`.
"""

import argparse
import json
import os
import pathlib
import time

import backend  # noqa: F401
import evolution
import families
import jax
import jax.numpy as jnp
import keras
import numpy as np
import tensorflow as tf

import keras_meta
from keras_meta.optimizers import rate_controller, tensor_blocks

# Beside the weights that it makes.
CONFIG = (
    pathlib.Path(keras_meta.__file__).parent / "presets/data/meta_adam_default.json"
)
NORM_DECAY = 0.95
FOCUS_BOUNDS = (-0.25, 0.75)  # of the objective less Adam's, in logarithms


class Training:
    """Everything that a checkpoint holds.

    Args:
        config: dict, as in `meta_adam_default.json`.
        start: dict of arrays, the theta to begin with. Default: the controller that is
            Adam, with the configuration's decay.
    """

    def __init__(self, config, start=None):
        self.config = config
        tensor_blocks.ALL_SAMPLES = config["samples"]
        self.template = rate_controller.zero_theta(config["units"], config["mixing"])
        self.template["decay"] += config["first_decay"]
        chosen = families.training_families()
        if "families" in config:
            chosen = {name: chosen[name] for name in config["families"]}
        self.windows = {
            name: evolution.Windows(family, self.template, config)
            for name, family in chosen.items()
        }
        share = np.array([family.share for family in chosen.values()])
        self.shares = share / share.sum()
        self.key = jax.random.PRNGKey(config["seed"])
        flat = np.concatenate([array.ravel() for array in self.template.values()])
        self.first = jnp.asarray(flat)
        if start is not None:
            flat = np.concatenate([start[name].ravel() for name in self.template])
        self.theta = keras.Variable(flat, dtype="float32", name="theta")
        rate = keras.optimizers.schedules.CosineDecay(
            config["rate"] / 20.0,
            config["meta_steps"],
            alpha=0.1,
            warmup_target=config["rate"],
            warmup_steps=50,
        )
        self.optimizer = keras.optimizers.Adam(
            rate, beta_1=0.95, beta_2=0.995, use_ema=True, ema_momentum=0.99
        )
        self.optimizer.build([self.theta])
        self.states, self.norms, self.objectives = {}, {}, {}
        self.step = 0

    def meta_step(self):
        """Takes the next window of one family, and a step of theta."""
        key = jax.random.fold_in(self.key, self.step)
        names = list(self.windows)
        random = np.random.default_rng([self.config["seed"], self.step])
        name = names[random.choice(len(names), p=self.chances())]
        window = self.windows[name]
        if name not in self.states:
            self.states[name] = window.start(key)
        theta = jnp.asarray(self.theta.value)
        state, gradient, objective, finite = window.window(
            theta, self.states[name], key
        )
        self.states[name] = state
        gradient, objective = np.asarray(gradient), float(objective)
        norm = float(np.linalg.norm(gradient))
        old = self.norms.get(name, norm)
        self.norms[name] = NORM_DECAY * old + (1.0 - NORM_DECAY) * norm
        old = self.objectives.get(name, objective)
        self.objectives[name] = 0.98 * old + 0.02 * objective
        # Families whose losses move more do not speak louder.
        gradient = gradient / (self.norms[name] + 1e-8)
        gradient = gradient * min(1.0, 2.0 / (np.linalg.norm(gradient) + 1e-8))
        self.optimizer.apply([gradient], [self.theta])
        # Towards the start: what the gradient does not hold in place goes back.
        rate = float(self.optimizer.learning_rate) * self.config["decay"]
        self.theta.assign(self.theta + rate * (self.first - self.theta))
        self.step += 1
        return name, objective, float(finite)

    def chances(self):
        """Returns each family's chance of the next turn.

        From meta-step `focus_from` on, the ones that are behind Adam come more often:
        their gradients, of the length of all others', would else be outvoted.
        """
        if self.step < self.config["focus_from"]:
            return self.shares
        ahead = [self.objectives.get(name, 0.0) for name in self.windows]
        weights = np.exp(self.config["focus"] * np.clip(ahead, *FOCUS_BOUNDS))
        chances = self.shares * weights
        return chances / chances.sum()

    def averaged(self):
        """Returns the running mean of theta, a dict of arrays."""
        flat = np.asarray(self.optimizer._model_variables_moving_average[0])
        theta, start = {}, 0
        for name, array in self.template.items():
            theta[name] = flat[start : start + array.size].reshape(array.shape)
            start += array.size
        return theta

    def save(self, path):
        leaves, _ = jax.tree.flatten(self.states)
        arrays = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        for i, variable in enumerate(self.optimizer.variables):
            arrays[f"optimizer_{i}"] = np.asarray(variable)
        facts = {
            "step": self.step,
            "started": list(self.states),
            "norms": self.norms,
            "objectives": self.objectives,
        }
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial, theta=np.asarray(self.theta), facts=json.dumps(facts), **arrays
        )
        os.replace(partial, path)

    def load(self, path):
        with np.load(path) as stored:
            facts = json.loads(str(stored["facts"]))
            self.step, self.norms = facts["step"], facts["norms"]
            self.objectives = facts["objectives"]
            self.theta.assign(stored["theta"])
            for i, variable in enumerate(self.optimizer.variables):
                variable.assign(stored[f"optimizer_{i}"])
            shells = {
                name: self.windows[name].start(self.key) for name in facts["started"]
            }
            _, structure = jax.tree.flatten(shells)
            leaves = [
                jnp.asarray(stored[f"state_{i}"]) for i in range(structure.num_leaves)
            ]
            self.states = jax.tree.unflatten(structure, leaves)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--config", type=pathlib.Path, default=CONFIG)
    parser.add_argument("--seed", type=int, help="instead of the configuration's")
    parser.add_argument("--checkpoint-seconds", type=float, default=240.0)
    parser.add_argument("--start", type=pathlib.Path, help="another run's theta.npz")
    parser.add_argument("--until", type=int, help="stop after so many meta-steps")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(options.run.parent / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    config = json.loads(options.config.read_text())
    if options.seed is not None:
        config["seed"] = options.seed
    kept = options.run / "config.json"
    if kept.exists() and json.loads(kept.read_text()) != config:
        raise ValueError(
            f"{options.run} was begun with another configuration, {kept}. Take another "
            "folder, or that file as `--config`."
        )
    kept.write_text(json.dumps(config, indent=2) + "\n")
    start = None
    if options.start:
        with np.load(options.start) as stored:
            start = dict(stored)
    training = Training(config, start)
    path = options.run / "checkpoint.npz"
    if path.exists():
        training.load(path)
        print("goes on at meta-step", training.step, flush=True)
    writer = tf.summary.create_file_writer(str(options.run / "tensorboard"))
    began = saved = time.monotonic()
    last = min(options.until or config["meta_steps"], config["meta_steps"])
    while training.step < last:
        name, objective, finite = training.meta_step()
        now = time.monotonic()
        if training.step % 100 == 0:
            mean = np.mean(list(training.objectives.values()))
            with writer.as_default(step=training.step):
                for label, value in training.objectives.items():
                    tf.summary.scalar(f"objective less Adam's/{label}", value)
                tf.summary.scalar("objective less Adam's", mean)
                tf.summary.histogram("theta", training.averaged()["rate"])
            print(
                f"{training.step} {now - began:.0f}s mean objective {mean:.4f} decay "
                f"{float(training.averaged()['decay']):.3f}",
                flush=True,
            )
        if now - saved > options.checkpoint_seconds:
            training.save(path)
            np.savez(options.run / "theta.npz", **training.averaged())
            saved = now
            print("saved", training.step, flush=True)
    training.save(path)
    np.savez(options.run / "theta.npz", **training.averaged())
    print("done", {k: round(v, 3) for k, v in training.objectives.items()})


if __name__ == "__main__":
    main()
