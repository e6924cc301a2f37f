"""What `python -m keras_meta.testing` runs: each part of the package, once, small.

A check is a function of an empty folder; it raises if something is wrong.
"""

import contextlib
import functools
import importlib.metadata
import io

import keras
import numpy as np

import keras_meta
from keras_meta.presets import PresetError, registry

FIT_STEPS = 60
# The presets that the documentation names: they must be there.
SHIPPED = (
    "digits_5way",
    "lstm_default",
    "meta_adam_default",
    "omniglot_5way_maml",
    "omniglot_5way_meta_sgd",
)
PAST_BEST = 0.01  # the rate at which the past searches of the check scored best


def _blobs():
    """Returns three classes of points, x float32 `(96, 4)` and y int64 `(96,)`."""
    random = np.random.default_rng(0)
    y = np.arange(96) % 3
    centres = random.normal(size=(3, 4))
    x = centres[y] + 0.3 * random.normal(size=(96, 4))
    return x.astype("float32"), y


def _model():
    """Returns a small network with the same first weights each time."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                8, "tanh", kernel_initializer=keras.initializers.GlorotUniform(seed=1)
            ),
            keras.layers.Dense(
                3, kernel_initializer=keras.initializers.GlorotUniform(seed=2)
            ),
        ]
    )


def _compiled(optimizer):
    model = _model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss)
    return model


def _fit(model, steps):
    """Takes steps on all of the data; returns the loss before each of them."""
    x, y = _blobs()
    history = model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return history.history["loss"]


def _check_optimizer(make_optimizer, folder):
    """Trains in plain `fit`, saves, loads; both models must go on alike."""
    model = _compiled(make_optimizer())
    losses = _fit(model, FIT_STEPS)
    _require(
        losses[-1] < 0.75 * losses[0],
        f"the loss of a small network must fall by a quarter in {FIT_STEPS} steps of "
        f"fit: it went from {losses[0]:.4f} to {losses[-1]:.4f}",
    )
    path = folder / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    for each in (model, loaded):
        _fit(each, 2)
    pairs = zip(model.get_weights(), loaded.get_weights(), strict=True)
    _require(
        all(np.array_equal(first, second) for first, second in pairs),
        "a model loaded from a .keras file must train on as the saved one does, bit "
        "for bit",
    )


def _check_preset(name, folder):
    """Loads a shipped preset; a copy with one flipped bit must be refused."""
    preset = keras_meta.load(name)
    for key in ("title", "optimizer", "sha256"):
        _require(preset.card.get(key), f"the card must have an entry {key!r}")
    _require(preset.tensors(), "a preset must hold tensors")
    _require(
        set(preset.optimizer().theta_values()) == set(preset.theta),
        "its optimizer must hold the learned values",
    )
    data = bytearray(registry.find_preset(name).read_bytes())
    data[-1] ^= 1  # of the weights, which lie at the end
    damaged = folder / "damaged.kmeta"
    damaged.write_bytes(data)
    try:
        keras_meta.load(damaged)
    except PresetError as error:
        _require("sha256" in str(error), f"the digest must be named, not: {error}")
    else:
        raise AssertionError("a damaged preset must be refused: it was loaded")
    if preset.initialization:
        _adapt(name)


def _adapt(name):
    """Adapts a shipped few-shot learner to drawings; it must name noisy ones."""
    trainer = keras_meta.MetaTrainer.from_preset(name)
    rows, columns, channels = trainer.model.input_shape[1:]
    ways = trainer.model.output_shape[-1]
    random = np.random.default_rng(0)
    # Patches of ink: pixels by themselves look like no drawing.
    coarse = random.random((ways, -(-rows // 4), -(-columns // 4))) > 0.6
    ink = np.kron(coarse, np.ones((1, 4, 4)))[:, :rows, :columns, None]
    drawings = np.repeat(ink, channels, axis=-1).astype("float32")
    noisy = drawings + 0.1 * random.normal(size=drawings.shape)
    labels = np.arange(ways)
    adapted = trainer.adapt(drawings, labels)
    predicted = adapted.predict(noisy.astype("float32"), verbose=0).argmax(axis=-1)
    right = int((predicted == labels).sum())
    _require(
        right >= ways - 1,
        f"adapted to {ways} drawings it must know them again: it knew {right}",
    )


def _check_meta_step(folder):
    """Takes one meta-step on sine waves; rates and initialisation must move."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
    )
    trainer = keras_meta.MetaTrainer(model, keras_meta.MetaSGD(seed=0), seed=0)
    trainer.compile(keras.optimizers.Adam(1e-2), loss="mse")
    before = [np.array(v) for v in trainer.trainable_variables]
    history = trainer.fit(
        keras_meta.tasks.Sinusoid(shots=5),
        meta_batch_size=2,
        steps_per_epoch=1,
        verbose=0,
    )
    loss = history.history["loss"][0]
    _require(np.isfinite(loss), f"the meta-loss must be finite: it is {loss}")
    _require(int(trainer.meta_step) == 1, "fit must take one meta-step")
    for variable, value in zip(trainer.trainable_variables, before, strict=True):
        _require(
            not np.array_equal(np.array(variable), value),
            f"the meta-step must change {variable.path}",
        )


def _check_oracle(folder):
    """Searches with a pool of two past searches; the first trial must heed them."""
    import keras_tuner

    class OneRate(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Float("rate", 1e-4, 1.0, sampling="log")

    class Search(keras_tuner.Tuner):
        def run_trial(self, trial, *args, **kwargs):
            return {"val_score": _score(trial.hyperparameters.get("rate"))}

    space = keras_tuner.HyperParameters()
    OneRate().build(space)
    objective = keras_tuner.Objective("val_score", "max")
    with keras_meta.tuner.ExperiencePool(folder / "pool.sqlite") as pool:
        for name in ("first", "second"):
            trials = [
                {"values": {"rate": float(rate)}, "score": _score(rate)}
                for rate in np.logspace(-4, 0, 9)
            ]
            pool.add(name, space, trials, objective)
        oracle = keras_meta.tuner.MetaOracle(
            objective, max_trials=2, experience=pool, learn=False, seed=0
        )
        oracle.verbose = 0
        search = Search(
            oracle=oracle,
            hypermodel=OneRate(),
            directory=str(folder),
            project_name="search",
        )
        search.search(verbose=0)
    _require(
        oracle.used_tasks == ["first", "second"],
        f"both past searches must be used, not {oracle.used_tasks}",
    )
    rates = [oracle.trials[i].hyperparameters.get("rate") for i in oracle.start_order]
    _require(len(rates) == 2, f"there must be two trials, not {len(rates)}")
    _require(
        abs(np.log10(rates[0] / PAST_BEST)) < 0.5,
        f"the first trial must be near {PAST_BEST}, the past's best: it is {rates[0]}",
    )


def _score(rate):
    return float(1.0 - np.log10(rate / PAST_BEST) ** 2)


def _check_console_script(folder):
    """Runs the installed command's function: presets, inspect, an error."""
    scripts = importlib.metadata.entry_points(
        group="console_scripts", name="keras-meta"
    )
    _require(scripts, "the console script keras-meta must be installed")
    [main] = {script.load() for script in scripts}
    names = keras_meta.list_presets()
    _require(names, "presets must ship with the package: there are none")
    listed = _output(main, ["presets"], 0)
    for name in names:
        _require(name in listed, f"`keras-meta presets` must list {name}")
        shown = _output(main, ["inspect", name], 0)
        digest = keras_meta.load(name).card["sha256"]
        _require(
            digest in "".join(shown.split()),
            f"`keras-meta inspect {name}` must show the weights' sha256",
        )
    _output(main, ["inspect", str(folder / "missing.kmeta")], 2)


def _output(main, arguments, status):
    """Returns what a command prints; it must end with `status`."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        received = main(arguments)
    _require(
        received == status,
        f"`keras-meta {' '.join(arguments)}` must end with {status}, not {received}: "
        f"{errors.getvalue().strip()}",
    )
    return output.getvalue()


def _meta_sgd():
    # Its rates, learned on another network, are fitted to the small one.
    return keras_meta.MetaSGD.from_preset("digits_5way").adapt_to(_model())


def _require(condition, message):
    if not condition:
        raise AssertionError(message)


def smoke_checks():
    """Returns a dict from name to function of a folder, in the order of running."""
    optimizers = {
        "MetaAdam": keras_meta.MetaAdam,
        "LSTMOptimizer": functools.partial(keras_meta.LSTMOptimizer, weights="default"),
        "MetaSGD": _meta_sgd,
    }
    checks = {
        f"fit and .keras file, {name}": functools.partial(_check_optimizer, make)
        for name, make in optimizers.items()
    }
    for name in sorted({*SHIPPED, *keras_meta.list_presets()}):
        checks[f"preset {name}"] = functools.partial(_check_preset, name)
    checks["one meta-step of MetaTrainer"] = _check_meta_step
    checks["MetaOracle with past searches"] = _check_oracle
    checks["console script keras-meta"] = _check_console_script
    return checks
