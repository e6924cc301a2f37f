"""KerasTuner's search spaces as plain lists, of whatever age they are."""

import json

NUMERICAL = ("Float", "Int")
LOGARITHMIC = ("log", "reverse_log")


def plain_space(space):
    """Returns a search space in the form that today's KerasTuner writes.

    KerasTuner 1.1 wrote `sampling: null` for `"linear"`, and `step: 1` for an Int
    that is sampled logarithmically, which 1.4 refuses: both are put right.

    Args:
        space: `keras_tuner.HyperParameters`, or the list under `"space"` of its
            `get_config()`.

    Returns:
        list of `{"class_name": str, "config": dict}` of plain JSON values; a
        config has at least `name` and `conditions`.

    Raises:
        ValueError: if the argument is not such a space.

    Example:

    >>> config = {"name": "units", "min_value": 1, "max_value": 9, "step": 1}
    >>> entry = {"class_name": "Int", "config": config | {"sampling": None}}
    >>> plain_space([entry])[0]["config"]["sampling"]
    'linear'
    """
    if hasattr(space, "get_config"):
        space = space.get_config()
    if isinstance(space, dict):
        space = space.get("space")
    if not isinstance(space, (list, tuple)):
        raise ValueError(
            "A search space must be a `keras_tuner.HyperParameters` or the list of "
            f"its parameters' configs. Received: {_short(space)}."
        )
    try:
        # Through JSON: tuples become lists, and nothing is shared with the caller.
        space = json.loads(json.dumps(space, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"A search space must hold plain, finite JSON values only: {error}. "
            f"Received: {_short(space)}."
        ) from error
    return [_plain_entry(entry) for entry in space]


def merged_space(old, new):
    """Joins two spaces of one search, of which the second is seen later.

    A search's space grows while hypermodels ask for new parameters. A parameter is
    known by its name and its conditions.

    Args:
        old: list of dicts, from `plain_space()`.
        new: list of dicts, from `plain_space()`.

    Returns:
        list of dicts: those of `old`, as `new` has them where it does, then those
        that only `new` has.
    """
    entries = {_key(entry): entry for entry in old}
    entries |= {_key(entry): entry for entry in new}
    return list(entries.values())


def _plain_entry(entry):
    config = entry.get("config") if isinstance(entry, dict) else None
    if (
        not isinstance(config, dict)
        or not isinstance(entry.get("class_name"), str)
        or not isinstance(config.get("name"), str)
    ):
        raise ValueError(
            "Each parameter of a search space must be a dict with `class_name` and "
            f"with a `config` that has a `name`. Received: {_short(entry)}."
        )
    name = _class_name(entry)
    config = {**config, "conditions": _plain_conditions(config)}
    if name in NUMERICAL:
        config["sampling"] = config.get("sampling") or "linear"
        if config["sampling"] in LOGARITHMIC and config.get("step") == 1:
            config["step"] = None
    return {"class_name": name, "config": config}


def _plain_conditions(config):
    conditions = config.get("conditions") or []
    if not isinstance(conditions, list) or not all(
        isinstance(condition, dict)
        and isinstance(condition.get("class_name"), str)
        and isinstance(condition.get("config"), dict)
        for condition in conditions
    ):
        raise ValueError(
            "The `conditions` of a parameter must be dicts with `class_name` and "
            f"`config`. Received: name={config['name']!r}, "
            f"conditions={_short(conditions)}."
        )
    return [
        {"class_name": _class_name(condition), "config": condition["config"]}
        for condition in conditions
    ]


def _class_name(entry):
    # Keras may have put a package before the name: "keras_tuner>Parent".
    return entry["class_name"].rpartition(">")[2]


def _key(entry):
    config = entry["config"]
    return json.dumps([config["name"], config["conditions"]], sort_keys=True)


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
