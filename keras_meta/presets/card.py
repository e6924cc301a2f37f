"""Checks a preset's card: the JSON object that says what a preset is."""

import hashlib
import json
import math

CARD_KEY = "keras_meta_card"
SCHEMA_VERSION = 1
MAX_CARD_BYTES = 10_000_000
MAX_DEPTH = 64  # A Functional model of models takes about 20.

# What each entry must be; those of the first group must be there.
REQUIRED = {
    "schema_version": (int, "an int"),
    "sha256": (str, "a str"),
    "created_with": (dict, "an object"),
}
OPTIONAL = {
    "card_sha256": (str, "a str"),
    "title": (str, "a str"),
    "optimizer": (dict, "an object"),
    "model": (dict, "an object"),
    "evaluation": (dict, "an object"),
    "parameters": (list, "a list"),
    "initialization": (list, "a list"),
    "non_trainable": (list, "a list"),
}
VARIABLE_LISTS = ("parameters", "initialization", "non_trainable")


class PresetError(ValueError):
    """Says that a preset is missing, damaged, foreign or used wrongly.

    Example:

    >>> import keras_meta
    >>> try:
    ...     keras_meta.presets.load("./no-such-file.kmeta")
    ... except keras_meta.presets.PresetError as error:
    ...     print(error)
    No preset file at 'no-such-file.kmeta'. Check the path.
    """


def parse_card(where, text):
    """Parses and checks a card that was read from a file.

    Args:
        where: str that starts the error messages, names the file.
        text: str, JSON, at most 10 MB and 64 levels deep.

    Returns:
        The card, a dict that `check_card()` accepts and whose digest is right.

    Raises:
        PresetError: if the text is not such a card.
    """
    if len(text) > MAX_CARD_BYTES:
        raise PresetError(
            f"{where} has a card of {len(text)} bytes, at most {MAX_CARD_BYTES} are "
            "read. Get the file again."
        )
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PresetError(
            f"{where} has a card that is not JSON or is nested too deeply: {error}. "
            "Get the file again."
        ) from error
    if not isinstance(card, dict):
        raise PresetError(
            f"{where} has a card that is not a JSON object. "
            f"Received: {type(card).__name__}. Get the file again."
        )
    check_card(card, where=where)
    digest = card_digest(card)
    if card.get("card_sha256") != digest:
        raise PresetError(
            f"{where} has a card that was edited or damaged: its sha256 is {digest}, "
            f"it says card_sha256={card.get('card_sha256')!r}. Get the file again; to "
            "change a card, read and write it with keras_meta."
        )
    return card


def check_card(card, where):
    """Checks that a card's entries are there and of their types.

    Args:
        card: dict.
        where: str that starts the error messages.

    Raises:
        PresetError: names the first entry that is missing or wrong, and says to
            upgrade if the card is of a newer schema.
    """
    fault = _json_fault(card)
    if fault:
        raise PresetError(f"{where} must hold plain, finite JSON values only. {fault}")
    for key, (kind, words) in {**REQUIRED, **OPTIONAL}.items():
        if key not in card:
            if key in REQUIRED:
                raise PresetError(
                    f"{where} has a card without `{key}`. "
                    f"Received the keys {sorted(card)[:12]}. Get the file again."
                )
            continue
        # bool is an int to Python, not to us.
        if not isinstance(card[key], kind) or isinstance(card[key], bool):
            raise PresetError(
                f"{where}: the card's `{key}` must be {words}. "
                f"Received: {key}={_short(card[key])}."
            )
        if key == "schema_version" and card[key] > SCHEMA_VERSION:
            raise PresetError(
                f"{where} was written by a newer keras_meta: upgrade keras_meta to "
                f"read it. Received: schema_version={card[key]}, this keras_meta "
                f"reads up to {SCHEMA_VERSION}."
            )
        if key == "schema_version" and card[key] < 1:
            raise PresetError(
                f"{where}: the card's `schema_version` must be >= 1. "
                f"Received: schema_version={card[key]}. Get the file again."
            )
        if key in VARIABLE_LISTS:
            _check_variable_list(where, key, card[key])
        if key in ("optimizer", "model"):
            _check_object(where, key, card[key])


def card_digest(card):
    """Computes the sha256 of a card without its `card_sha256`, as sorted JSON.

    Args:
        card: dict of JSON values.

    Returns:
        str of 64 hexadecimal digits.
    """
    rest = {key: value for key, value in card.items() if key != "card_sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _json_fault(value):
    """Returns what JSON cannot hold and where, or None. Walks without recursion."""
    todo = [(value, None, 1)]
    while todo:
        # A trail is (key, trail of the parent): names are made for faults only.
        value, trail, depth = todo.pop()
        if depth > MAX_DEPTH:
            return f"Received more than {MAX_DEPTH} levels at {_name(trail)}."
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    return f"Received the key {key!r} in {_name(trail)}, not a str."
                todo.append((item, (key, trail), depth + 1))
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                todo.append((item, (index, trail), depth + 1))
        elif isinstance(value, float) and not math.isfinite(value):
            return f"Received: {_name(trail)}={value}."
        elif value is not None and not isinstance(value, (str, int, float)):
            return f"Received: {_name(trail)} of type {type(value).__name__}."
    return None


def _name(trail):
    keys = []
    while trail is not None:
        key, trail = trail
        keys.append(str(key)[:40])
    return ".".join(["card", *reversed(keys)])[:200]


def _check_variable_list(where, key, items):
    for index, item in enumerate(items):
        if not (
            isinstance(item, dict)
            and isinstance(item.get("path"), str)
            and isinstance(item.get("shape"), (list, tuple))
            and all(type(size) is int and size >= 0 for size in item["shape"])
        ):
            raise PresetError(
                f"{where}: each of the card's `{key}` must be an object with `path`, "
                "a str, and `shape`, a list of ints >= 0. "
                f"Received: {key}[{index}]={_short(item)}."
            )


def _check_object(where, key, value):
    if not isinstance(value.get("class_name"), str) or not isinstance(
        value.get("config"), dict
    ):
        raise PresetError(
            f"{where}: the card's `{key}` must be what "
            "`keras.saving.serialize_keras_object()` gives, with `class_name` and "
            f"`config`. Received: {key}={_short(value)}."
        )


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
