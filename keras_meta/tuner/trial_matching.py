"""Tells whether two trials are one: ids are given out again, contents are not."""

import hashlib
import json

FINISHED = ("COMPLETED", "FAILED")
MIN_ALIKE = 3  # Trials of two folders that make one a copy of the other.
NEWER, OLDER, OTHER = "newer", "older", "other"


def content_key(trial):
    """Computes a digest of what a trial tried and what came of it.

    Args:
        trial: `PastTrial` of plain values.

    Returns:
        str of 32 hexadecimal digits, over values, status, score, best step and
        metrics; not over the id, the time taken and the message.
    """
    facts = [trial.values, trial.status, trial.score, trial.best_step, trial.metrics]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_finished(trial):
    """Tells whether a trial will not go on.

    Args:
        trial: `PastTrial`.

    Returns:
        bool.
    """
    return trial.status in FINISHED


def compare_trials(stored, seen):
    """Says what a trial that is seen now is to a stored one of the same id.

    Args:
        stored: `PastTrial`, in the pool.
        seen: `PastTrial`, of another content.

    Returns:
        `"newer"` if it is the stored trial, further on; `"older"` if it is the
        stored trial, less far on; `"other"` if the id was given out again.

    Example:

    >>> from keras_meta.tuner.pool_records import PastTrial
    >>> started = PastTrial({"units": 8}, status="RUNNING", trial_id="3")
    >>> ended = PastTrial({"units": 8}, score=0.9, trial_id="3")
    >>> compare_trials(started, ended), compare_trials(ended, started)
    ('newer', 'older')
    """
    # A build may ask for new parameters: values grow while a trial runs.
    goes_on = _within(stored.values, seen.values)
    goes_back = _within(seen.values, stored.values)
    if not is_finished(stored):
        if not is_finished(seen) and goes_back and _points(seen) < _points(stored):
            return OLDER
        return NEWER if goes_on or not stored.metrics else OTHER
    if not is_finished(seen):
        return OLDER if goes_back else OTHER
    if not (goes_on and goes_back):
        return OTHER
    if _points(stored) <= _points(seen):
        return NEWER
    return OLDER if _points(seen) < _points(stored) else OTHER


def same_search(stored, seen):
    """Says whether the trials of two readings of one folder are of one search.

    A search that was started anew in the folder of another has the same ids.

    Args:
        stored: list of `(PastTrial, content key)`, the trials of a task of the pool.
        seen: list of `(PastTrial, content key)`, those of the folder now.

    Returns:
        int, 0 for no, else a number that is larger the more they share.
    """
    alike, pairs = _common(stored, seen)
    if alike:
        return 1 + len(alike)
    if not pairs:
        return int(not stored or not seen)
    return int(all(compare_trials(*pair) != OTHER for pair in pairs))


def same_copy(stored, seen, moved):
    """Says whether a folder is a copy of the one that a task was read from.

    All trials that both have finished must be alike, and they must be three or
    more: two searches with one seed may agree in a score or two.

    Args:
        stored: list of `(PastTrial, content key)`, the trials of a task of the pool.
        seen: list of `(PastTrial, content key)`, those of the folder.
        moved: bool, whether the folder that the task was read from is gone: then
            all of its finished trials are enough, if they are fewer.

    Returns:
        int, 0 for no, else a number that is larger the more they share.
    """
    alike, pairs = _common(stored, seen)
    alike = sum(map(is_finished, alike))
    if alike != sum(is_finished(old) and is_finished(new) for old, new in pairs):
        return 0
    enough = MIN_ALIKE
    if moved:
        enough = min(enough, sum(is_finished(trial) for trial, _ in stored))
    return alike if alike >= max(enough, 1) else 0


def _common(stored, seen):
    """Returns the trials that are in both, and the pairs of one id."""
    keys = {(trial.trial_id, key) for trial, key in stored}
    alike = [trial for trial, key in seen if (trial.trial_id, key) in keys]
    old = {trial.trial_id: trial for trial, _ in stored}
    return alike, [(old[t.trial_id], t) for t, _ in seen if t.trial_id in old]


def _within(part, whole):
    return all(key in whole and whole[key] == part[key] for key in part)


def _points(trial):
    """Returns what was observed, as a set that can be compared with another."""
    return {
        (name, step, value)
        for name, history in trial.metrics.items()
        for step, value in history["observations"]
    }
