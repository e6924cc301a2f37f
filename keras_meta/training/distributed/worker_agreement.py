"""All workers run the same program, or all of them say what differs."""

import hashlib
import inspect
import json
import math

import keras
import numpy as np
import tensorflow as tf

import keras_meta
from keras_meta.training.distributed.synchronise import rows_of_all

# A worker's facts as JSON must fit. The number is part of what workers agree on: one
# with another version must be able to say so.
MAX_BYTES = 8192
# Longer values are told as the first digits of their SHA-256.
LONGEST, DIGITS = 120, 12
# Entries of Keras' configs.
HOLD_NAMES = ("name", "keras_history", "input_layers", "output_layers")
MAY_DIFFER = ("seed", "shared_object_id")


def facts_of(trainer, fit_arguments):
    """Returns what must be the same on every worker, a dict from name to str.

    Args:
        trainer: compiled `EpisodicModel`.
        fit_arguments: dict of JSON-able values.
    """
    compiling = _config_or_values(
        trainer.get_compile_config, trainer.loss_and_metrics()
    )
    values = {
        name: getattr(trainer, name, None)
        for name in inspect.signature(type(trainer)).parameters
    }
    facts = {
        "keras_meta": keras_meta.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "class": type(trainer).__name__,
        **_config_or_values(trainer.get_config, values),
        **{f"compile {name}": value for name, value in compiling.items()},
        **fit_arguments,
        "shapes of weights": [
            [list(variable.shape), variable.dtype] for variable in trainer.weights
        ],
    }
    facts.pop("name", None)
    return {name: _told(value) for name, value in facts.items()}


def facts_of_data(argument, source):
    """Returns what must be the same of the tasks' data on every worker, a dict of str.

    Each worker takes its share of what all of them draw or read: from other data, or
    in another order, of a shuffle without a seed for one, it would be a share of
    something else. A mean and a deviation, rounded, do not tell machines apart that
    round otherwise.

    Args:
        argument: str, the name of the argument of `fit`.
        source: `TaskSource`, or None.
    """
    if source is None:
        return {}
    parts = [np.asarray(part) for part in source.first()]
    numbers = [
        part.astype("float64")
        for part in parts
        if part.dtype.kind in "biuf" and part.size
    ]
    return {f"first task of {argument}": [_in_short(part) for part in numbers]}


def _in_short(part):
    mean, deviation = float(part.mean()), float(part.std())
    scale = deviation or abs(mean)
    if not 0.0 < scale < math.inf:
        return f"{mean:g}"
    # A mean of about zero has no leading digits of its own.
    mean = round(mean, 2 - math.floor(math.log10(scale))) + 0.0
    return f"{mean:g} +- {deviation:.3g}"


def check_agreement(strategy, facts, error):
    """Returns if all workers can start alike; else raises on every worker.

    Every worker must call it at the same point, also one that cannot start.

    Args:
        strategy: `tf.distribute.Strategy` with several workers.
        facts: what `facts_of` returned.
        error: None, or the exception that keeps this worker from starting.

    Raises:
        Exception: `error`, on the worker that it is of.
        ValueError: if another worker cannot start, or if facts differ.
    """
    note = {"facts": facts}
    if error is not None:
        note = {"error": f"{type(error).__name__}: {error}"}
    text = json.dumps(note).encode()
    if len(text) > MAX_BYTES:
        kept = json.dumps(note.get("error", "more settings than can be compared"))
        text = json.dumps({"error": kept[: MAX_BYTES // 8]}).encode()
    row = np.zeros(MAX_BYTES, "int32")
    row[: len(text)] = np.frombuffer(text, "uint8")
    rows = rows_of_all(strategy, lambda: row)
    # Workers may have several replicas each: all of them said the same.
    local = len(strategy.extended.worker_devices)
    notes = [
        json.loads(bytes(row.astype("uint8")).rstrip(b"\0")) for row in rows[::local]
    ]
    if error is not None:
        raise error
    for number, note in enumerate(notes):
        if "error" in note:
            raise ValueError(
                f"Worker {number} cannot start, so that no worker does. Received from "
                f"it: {note['error']}"
            )
    differing = _differences([note["facts"] for note in notes])
    if differing:
        seed = " Give a seed." if any(d.startswith("seed:") for d in differing) else ""
        raise ValueError(
            "All workers must run the same program with the same versions and "
            f"settings. Received: {'; '.join(differing)}. Start the same program, "
            f"with the same arguments, on every worker.{seed}"
        )


def _differences(all_facts):
    differing = []
    for name in dict.fromkeys(name for facts in all_facts for name in facts):
        values = [facts.get(name, "nothing") for facts in all_facts]
        if len(set(values)) > 1:
            told = ", ".join(f"{v} on worker {i}" for i, v in enumerate(values))
            differing.append(f"{name}: {told}")
    return differing


def _config_or_values(get_config, values):
    """Returns a config, or where something in it has none, the values themselves."""
    try:
        return get_config()
    except Exception:  # Nothing is saved here: what has no config is told by its name.
        return values


def _told(value):
    names = {name: f"#{i}" for i, name in enumerate(dict.fromkeys(_names_in(value)))}
    text = json.dumps(_comparable(value, names), sort_keys=True, default=_name)
    if len(text) <= LONGEST:
        return text
    return f"#{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def _names_in(value):
    """Yields the names that objects in a config have, and refer to each other by."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str):
            yield value["name"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _names_in(part)


def _comparable(value, names, is_name=False):
    """Returns `value` without what may differ inside of objects.

    Names count up in a process: they become the places where they stand. The seeds of
    layers and optimizers decide where weights start, and all start from the chief's.
    Code holds the path of its file.
    """
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":
            return "a lambda"
        return {
            key: _comparable(part, names, is_name or key in HOLD_NAMES)
            for key, part in value.items()
            if key not in MAY_DIFFER
        }
    if isinstance(value, (list, tuple)):
        return [_comparable(part, names, is_name) for part in value]
    if is_name and isinstance(value, str):
        return names.get(value, value)
    return value


def _name(value):
    """Returns a name for what is not JSON, the same in every process."""
    return getattr(value, "__qualname__", type(value).__qualname__)
