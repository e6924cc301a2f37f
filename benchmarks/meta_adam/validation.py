"""Tasks that choose between controllers; neither trained on nor part of the gate.

    python benchmarks/meta_adam/validation.py FOLDER/theta.npz ... [--output FILE]

Runs every validation task for 200 and 2,000 steps, with Adam's baselines (kept in the
file) and with each controller, its horizon known and not; prints final losses as
ratios to Adam(0.001). Final: the mean over the last twentieth of the steps.
"""

import argparse
import functools
import hashlib
import json
import pathlib

import backend  # noqa: F401
import family
import jax
import jax.numpy as jnp
import nets
import numpy as np
import runs
import task_data

from keras_meta.optimizers import rate_controller

HERE = pathlib.Path(__file__).parent
LENGTHS = (200, 2000)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = 2


def watch_windows():
    """Returns standardised raw watch windows `(n, 64, 3)` and activities, shuffled."""
    data = np.load(task_data.folder() / "wisdm_watch_accel.npz")
    x = data["x"].astype("float32") * float(data["scale"])
    order = np.random.default_rng(0).permutation(len(x))
    return task_data.standard(x)[order], data["activity"].astype("int32")[order]


def births():
    """Returns four weeks of births and the week after, scaled by the state's mean."""
    daily = np.load(task_data.folder() / "births_by_state.npz")["births"]
    daily = daily.astype("float32")
    daily = (daily - daily.mean(1, keepdims=True)) / daily.std(1, keepdims=True)
    random = np.random.default_rng(0)
    rows = random.integers(len(daily), size=8_000)
    starts = random.integers(daily.shape[1] - 35, size=8_000)
    windows = daily[rows[:, None], starts[:, None] + np.arange(35)]
    return windows[:, :28], windows[:, 28:]


def validation_families():
    """Returns dict of name to `(Family, activation)`."""
    x28, x14, _, y = task_data.digits()
    flat28, flat14 = x28.reshape(len(x28), -1), x14.reshape(len(x14), -1)
    watch, activity = watch_windows()
    flat = watch.reshape(len(watch), -1)
    past, week = births()
    said, _ = task_data.words(known=800)
    sentence = said.reshape(-1)
    sentence = sentence[sentence > 0]
    omniglot = np.load(task_data.folder() / "omniglot28.npz")
    strokes = omniglot["images"][omniglot["is_evaluation"]].reshape(-1, 784)
    c, r, language = family.classification, family.regression, family.language
    n, relu, tanh, gelu = nets, 0, 1, 2

    def conv_block(width):
        return n.residual(
            n.chain(
                n.conv(width, width, bias=False),
                n.batch_norm(width),
                n.activation(),
                n.conv(width, width, bias=False),
                n.batch_norm(width),
            )
        )

    wave = n.chain(
        n.conv(3, 16, 5, 2, 1, bias=False),
        n.batch_norm(16),
        n.activation(),
        n.conv(16, 32, 5, 2, 1, bias=False),
        n.batch_norm(32),
        n.activation(),
        n.average(1),
        n.dense(32, 18),
    )
    gated = n.chain(n.gru(3, 32), n.function(lambda h: h[:, -1]), n.dense(32, 18))
    pixels = n.chain(
        n.conv(1, 12, stride=2),
        n.activation(),
        n.conv(12, 16),
        n.activation(),
        n.flatten(),
        n.dense(16 * 49, 64),
        n.activation(),
        n.dense(64, 10),
    )
    skipping = n.chain(
        n.conv(1, 12, stride=2, bias=False),
        n.batch_norm(12),
        n.activation(),
        conv_block(12),
        n.activation(),
        conv_block(12),
        n.activation(),
        n.average((1, 2)),
        n.dense(12, 10),
    )
    speaking = n.chain(
        n.embedding(800, 32),
        n.positions(12, 32),
        n.attention(32, 4),
        n.layer_norm(32),
        n.dense(32, 800),
    )
    spelling = n.chain(n.embedding(43, 24), n.lstm(24, 64), n.dense(64, 43))
    image14, strokes = x14[..., None], strokes.astype("float32")
    made = {
        "watch mlp": (c("", n.mlp([192, 128, 18]), flat, activity, 32), relu),
        "watch conv": (c("", wave, watch, activity, 32), relu),
        "watch gru": (c("", gated, watch[:, ::2], activity, 32), relu),
        "watch logistic": (c("", n.mlp([192, 18]), flat, activity, 64), relu),
        "watch, few rows": (
            c("", n.mlp([192, 64, 18]), flat[:300], activity[:300], 16),
            relu,
        ),
        "births mlp": (r("", n.mlp([28, 64, 64, 7]), past, week, 64), gelu),
        "digits conv": (c("", pixels, image14, y, 32), relu),
        "digits residual": (c("", skipping, image14, y, 32), relu),
        "digits layer norm": (
            c("", n.mlp([784, 128, 64, 10], n.layer_norm), flat28, y, 128),
            tanh,
        ),
        "digits tanh 6": (c("", n.mlp([196] + [64] * 6 + [10]), flat14, y, 32), tanh),
        "strokes autoencoder": (
            r("", n.mlp([784, 96, 16, 96, 784]), strokes, None, 32),
            gelu,
        ),
        "words attention": (language("", speaking, sentence, 12, 8), relu),
        "letters lstm": (language("", spelling, task_data.characters(), 24, 16), relu),
    }
    return made


class Runs:
    """One task's runs, compiled once for every controller, rate and length."""

    def __init__(self, family, activation):
        self.family, self._compiled = family, {}
        self.setting = family.usual_setting(activation)

    def losses(self, theta, length, known=0.0, rate=1e-3, cosine=False):
        """Returns float32 `(SEEDS, length)`, the loss before each step."""
        kind = tuple(sorted(theta))
        if kind not in self._compiled:
            rule = runs.rule_for(theta)
            self._compiled[kind] = jax.jit(functools.partial(self._all, rule))
        losses = self._compiled[kind](
            self.family.data,
            theta,
            jnp.int32(length),
            jnp.float32(known),
            jnp.float32(rate),
            jnp.float32(cosine),
        )
        return np.asarray(losses)[:, :length]

    def _all(self, rule, data, theta, length, known, rate, cosine):
        family = self.family

        def one(seed):
            key = jax.random.PRNGKey(1000 + seed)
            scales = [jnp.float32(1.0)] * len(family.shapes)
            state = runs.started(rule, family, key, 1.0, scales)
            horizon = length.astype("float32")
            run = {
                "setting": self.setting,
                "scales": scales,
                "horizon": horizon,
                "horizon_known": known,
                "loss_known": jnp.float32(1.0),
            }

            def body(number, carry):
                state, losses = carry
                batch = family.batch(
                    data, jax.random.fold_in(key, number), self.setting
                )
                decay = 0.5 * (1.0 + jnp.cos(jnp.pi * number / horizon))
                factor = rate / 1e-3 * jnp.where(cosine > 0.0, decay, 1.0)
                state, loss = runs.step(
                    rule, family, data, theta, state, batch, number, run, factor
                )
                return state, losses.at[number].set(loss)

            losses = jnp.zeros(max(LENGTHS))
            return jax.lax.fori_loop(0, length, body, (state, losses))[1]

        return jax.vmap(one)(jnp.arange(SEEDS))


def final(losses):
    """Returns the mean of the last twentieth, over the seeds."""
    return float(losses[:, -max(10, losses.shape[1] // 20) :].mean())


def baselines(task, zero):
    """Returns dict of `"rate, schedule, length"` to final loss."""
    found = {}
    for rate in RATES:
        losses = task.losses(zero, 2000, rate=rate)
        for length in LENGTHS:
            found[f"{rate:g}, constant, {length}"] = final(losses[:, :length])
            if rate > 5e-4:
                decayed = task.losses(zero, length, rate=rate, cosine=True)
                found[f"{rate:g}, cosine, {length}"] = final(decayed)
    return found


def measured(controllers, path, names=None):
    """Runs validation tasks; what stands in the file is not run again.

    Args:
        controllers: dict of label to theta.
        path: path of a JSON file, which is made or added to.
        names: list of tasks. Default: all.

    Returns:
        Dict: `baselines`, for each task `"rate, schedule, length"` to final loss;
        `controllers`, for each label and task `"length, horizon known"` to final loss.
    """
    found = {"baselines": {}, "controllers": {}, "digests": {}}
    if path.exists():
        found |= json.loads(path.read_text())
    for label, theta in controllers.items():
        # A label's results are those of its theta, not of an earlier one.
        digest = digest_of(theta)
        if found["digests"].get(label) != digest:
            found["controllers"].pop(label, None)
            found["digests"][label] = digest
    zero = {k: jnp.asarray(v) for k, v in rate_controller.zero_theta().items()}
    for name, (own, activation) in validation_families().items():
        if names and name not in names:
            continue
        task = Runs(own, activation)
        if name not in found["baselines"]:
            found["baselines"][name] = baselines(task, zero)
        for label, theta in controllers.items():
            rows = found["controllers"].setdefault(label, {})
            if name not in rows:
                theta = {key: jnp.asarray(value) for key, value in theta.items()}
                rows[name] = {
                    f"{length}, {known}": final(task.losses(theta, length, known))
                    for length in LENGTHS
                    for known in (1, 0)
                }
                ratios = beside(rows[name], found["baselines"][name])
                print(name, label, ratios, flush=True)
        path.write_text(json.dumps(found))
    return found


def digest_of(theta):
    """Returns a short name of a theta's values."""
    digest = hashlib.sha256()
    for name in sorted(theta):
        digest.update(name.encode() + np.asarray(theta[name], "float32").tobytes())
    return digest.hexdigest()[:16]


def beside(row, baseline, choice="Adam 1e-3"):
    """Returns a controller's final losses as ratios to a baseline's."""
    return {
        column: round(value / CHOICES[choice](baseline, column.split(",")[0]), 3)
        for column, value in row.items()
    }


def best(schedule):
    return lambda rows, length: min(
        value for key, value in rows.items() if key.endswith(f"{schedule}, {length}")
    )


CHOICES = {
    "Adam 1e-3": lambda rows, length: rows[f"0.001, constant, {length}"],
    "3e-3 cosine": lambda rows, length: rows[f"0.003, cosine, {length}"],
    "best constant": best("constant"),
    "best cosine": best("cosine"),
}


def summary(found, label):
    """Returns, for each column and baseline, geometric mean and worst ratio."""
    rows = found["controllers"][label]
    table = {}
    for choice in CHOICES:
        ratios = [
            beside(row, found["baselines"][name], choice) for name, row in rows.items()
        ]
        for column in ratios[0]:
            values = [row[column] for row in ratios]
            mean = float(np.exp(np.mean(np.log(values))))
            table.setdefault(column, {})[choice] = [round(mean, 3), max(values)]
    return table


def score(found, label):
    """Returns what is least for the best controller.

    Over lengths and both horizons, the mean logarithm of the ratio to Adam(0.001), and
    half of that of the worst task where it is above 1.
    """
    columns = [row["Adam 1e-3"] for row in summary(found, label).values()]
    return float(
        np.mean([np.log(m) + 0.5 * max(np.log(worst), 0.0) for m, worst in columns])
    )


def load_theta(path):
    with np.load(path) as stored:
        return dict(stored)


def use_cache(path):
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("thetas", nargs="*", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--tasks", nargs="*")
    options = parser.parse_args()
    if options.cache:
        use_cache(options.cache)
    controllers = {str(path): load_theta(path) for path in options.thetas}
    found = measured(controllers, options.output, options.tasks)
    for label in controllers:
        print(label, "score", round(score(found, label), 4))
        for column, row in summary(found, label).items():
            print("  ", column, row)


if __name__ == "__main__":
    main()
