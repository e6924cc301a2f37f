"""Turns what a pool is given into plain Python values, all of them checked."""

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping

from keras_meta.tuner.pool_records import PastTrial

FIELDS = tuple(field.name for field in dataclasses.fields(PastTrial))
STATUSES = ("COMPLETED", "FAILED", "IDLE", "INVALID", "RUNNING", "STOPPED")
PLAIN = (str, int, bool, type(None))
MAX_MESSAGE = 2_000  # Characters of a traceback; its end says what happened.
MAX_STEP = 2**53


def check_name(name):
    """Raises ValueError unless a task's name is a str that is not empty."""
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"Argument `name` must be a str that is not empty. Received: name={name!r}."
        )


def checked_trial(trial):
    """Returns a trial as a record of plain Python values, all of them checked.

    NumPy numbers become Python's. A score that is not finite becomes None, and the
    message says so.

    Args:
        trial: `PastTrial`, or a dict with `values` and any of a `PastTrial`'s
            other attributes. Without `status`, a trial with a finite score is
            `"COMPLETED"` and one without is `"FAILED"`.

    Returns:
        `PastTrial`.

    Raises:
        ValueError: names the first part that is missing or wrong.

    Example:

    >>> trial = checked_trial({"values": {"units": 8}, "score": float("nan")})
    >>> trial.score, trial.status, trial.message
    (None, 'FAILED', 'The score was nan.')
    """
    if isinstance(trial, PastTrial):
        given = {name: getattr(trial, name) for name in FIELDS}
    elif isinstance(trial, dict):
        given = trial
    else:
        raise ValueError(
            f"A trial must be a PastTrial or a dict. Received: {_short(trial)}."
        )
    unknown = [key for key in given if key not in FIELDS]
    if unknown or not isinstance(given.get("values"), dict):
        raise ValueError(
            "A trial must have `values`, a dict of hyperparameters, and may have "
            f"{', '.join(name for name in FIELDS if name != 'values')}. "
            f"Received: {_short(trial)}."
        )
    score = _number("score", given.get("score"))
    message = given.get("message")
    if score is not None and not math.isfinite(score):
        reason = f"The score was {score}."
        message = f"{message}\n{reason}" if message else reason
        score = None
    status = given.get("status") or ("FAILED" if score is None else "COMPLETED")
    if status not in STATUSES:
        raise ValueError(
            f"A trial's `status` must be one of {', '.join(STATUSES)}. "
            f"Received: status={status!r}."
        )
    return PastTrial(
        values={_text(key): _value(key, v) for key, v in given["values"].items()},
        score=score,
        status=status,
        trial_id=_text(given.get("trial_id")),
        best_step=_step("best_step", given.get("best_step")),
        seconds=_seconds(given.get("seconds")),
        message=_text(message)[-MAX_MESSAGE:] if message else None,
        metrics=_metrics(given.get("metrics") or {}),
    )


def checked_description(description):
    """Returns a data set's description as a dict of plain floats.

    Args:
        description: mapping of feature name to finite number, or None.

    Returns:
        dict of str to float, in the order given, or None.

    Raises:
        ValueError: names the first feature that is not a finite number.
    """
    if description is None:
        return None
    if not isinstance(description, Mapping):
        raise ValueError(
            "A data set's description must be a dict of feature name to number. "
            f"Received: description={_short(description)}."
        )
    features = {}
    for name, value in description.items():
        number = _number(f"description[{name!r}]", value)
        if number is None or not math.isfinite(number):
            raise ValueError(
                "The features of a data set's description must be finite numbers. "
                f"Received: {name}={_short(value)}."
            )
        features[_text(name)] = number
    return features


def plain_text(text):
    """Returns text that UTF-8 can hold: names of files need not be.

    Args:
        text: str.

    Returns:
        str, with lone surrogates written as `\\\\udcff`.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value):
    return None if value is None else plain_text(str(value))


def _value(name, value):
    if hasattr(value, "item") and hasattr(value, "dtype"):
        value = value.item()  # A NumPy scalar.
    if type(value) is float and math.isfinite(value) or type(value) in PLAIN:
        return value
    try:
        # A Fixed parameter may hold lists and dicts.
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            "A trial's `values` must be plain and finite: str, int, float or bool. "
            f"Received: {name}={_short(value)}."
        ) from error


def _number(name, value):
    if value is None:
        return None
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"`{name}` must be a number or None. Received: {name}={_short(value)}."
        )
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _step(name, value):
    number = _number(name, value)
    if number is None:
        return None
    if not number.is_integer() or abs(number) > MAX_STEP:
        raise ValueError(
            f"`{name}` must be a whole number. Received: {name}={_short(value)}."
        )
    return int(number)


def _seconds(value):
    seconds = _number("seconds", value)
    if seconds is not None and not 0 <= seconds < math.inf:
        raise ValueError(
            f"A trial's `seconds` must be >= 0 and finite. Received: seconds={value!r}."
        )
    return seconds


def _metrics(metrics):
    if not isinstance(metrics, dict):
        raise ValueError(
            "A trial's `metrics` must be a dict of metric name to its direction and "
            f"observations. Received: metrics={_short(metrics)}."
        )
    return {_text(name): _history(name, metrics[name]) for name in metrics}


def _history(name, history):
    if isinstance(history, dict) and history.get("direction") in ("min", "max"):
        observations = history.get("observations")
        if isinstance(observations, (list, tuple)) and all(
            isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in observations
        ):
            pairs = [
                [_step("step", step), _number(name, value)]
                for step, value in observations
            ]
            if all(step is not None for step, _ in pairs):
                return {
                    "direction": history["direction"],
                    "observations": sorted(map(_finite, pairs), key=_first),
                }
    raise ValueError(
        "Each of a trial's `metrics` must be a dict with `direction`, 'min' or "
        "'max', and `observations`, a list of [step, value]. "
        f"Received: {name}={_short(history)}."
    )


def _finite(pair):
    step, value = pair
    return [step, value if value is not None and math.isfinite(value) else None]


def _first(pair):
    return pair[0]


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def checked_rename(rename):
    """Returns a dict from past names of hyperparameters to those here.

    Raises:
        ValueError: if it is none, or gives one name to several.
    """
    if rename is None:
        return {}
    if not isinstance(rename, dict) or not all(
        isinstance(name, str) for pair in rename.items() for name in pair
    ):
        raise ValueError(
            "Argument `rename` must be a dict from a hyperparameter's name in past "
            f"searches to its name here. Received: rename={rename!r}."
        )
    if len(set(rename.values())) < len(rename):
        raise ValueError(
            "Argument `rename` must not give one name to several hyperparameters. "
            f"Received: rename={rename!r}."
        )
    return dict(rename)


def checked_int(name, value, least):
    """Returns an int of any integer type, at least `least`, or None as it is.

    Raises:
        ValueError: for anything else.
    """
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or value < least
    ):
        raise ValueError(
            f"Argument `{name}` must be an int >= {least}, or None. "
            f"Received: {name}={value!r}."
        )
    return int(value)
