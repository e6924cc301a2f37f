import pytest

from keras_meta.tuner.pool_records import PastTrial
from keras_meta.tuner.trial_matching import (
    compare_trials,
    content_key,
    same_copy,
    same_search,
)


def trial(values=None, steps=(), trial_id="0", **facts):
    history = {"direction": "min", "observations": [list(step) for step in steps]}
    metrics = {"loss": history} if steps else {}
    return PastTrial(values or {"a": 1}, trial_id=trial_id, metrics=metrics, **facts)


RUNNING = trial(status="RUNNING")
STARTED = trial(steps=[(0, 0.5)], status="RUNNING")
FURTHER = trial(steps=[(0, 0.5), (1, 0.4)], status="RUNNING")
ENDED = trial(steps=[(0, 0.5), (1, 0.4)], score=0.4)
LONGER = trial(steps=[(0, 0.5), (1, 0.4), (2, 0.3)], score=0.3)
SECOND = trial(steps=[(0, 0.7), (1, 0.6)], score=0.6)
GROWN = trial({"a": 1, "b": 2}, steps=[(0, 0.5)], score=0.5)
UNLIKE = trial({"a": 2}, steps=[(0, 0.5)], score=0.5)


@pytest.mark.parametrize(
    ("stored", "seen", "relation"),
    [
        (RUNNING, ENDED, "newer"),
        (STARTED, FURTHER, "newer"),
        (STARTED, GROWN, "newer"),
        (ENDED, LONGER, "newer"),
        (RUNNING, UNLIKE, "newer"),  # Nothing is lost: it had tried nothing yet.
        (FURTHER, STARTED, "older"),
        (ENDED, RUNNING, "older"),
        (GROWN, RUNNING, "older"),
        (LONGER, ENDED, "older"),
        (STARTED, UNLIKE, "other"),
        (ENDED, UNLIKE, "other"),
        (ENDED, SECOND, "other"),
        (UNLIKE, RUNNING, "other"),
    ],
)
def test_trials_of_one_id(stored, seen, relation):
    assert compare_trials(stored, seen) == relation


def test_content_is_values_result_and_steps_alone():
    key = content_key(ENDED)
    assert key == content_key(trial(steps=[(0, 0.5), (1, 0.4)], score=0.4, seconds=9.0))
    assert key == content_key(
        trial(steps=[(0, 0.5), (1, 0.4)], score=0.4, trial_id="7", message="said")
    )
    others = [FURTHER, LONGER, SECOND, trial(score=0.4), UNLIKE]
    assert len({key, *map(content_key, others)}) == 6
    assert content_key(PastTrial({"a": 1, "b": 2})) == content_key(
        PastTrial({"b": 2, "a": 1})
    )


def search(*trials):
    return [(trial, content_key(trial)) for trial in trials]


def ended(count, score=0.0, first=0):
    return [
        trial(steps=[(0, score + i)], score=score + i, trial_id=str(i))
        for i in range(first, first + count)
    ]


def test_one_folder_holds_one_search_until_it_is_started_anew():
    stored = search(*ended(2))
    assert same_search(stored, search(*ended(5)))
    assert same_search(stored, search(*ended(1)))
    assert same_search(search(RUNNING), search(ENDED))
    assert same_search(stored, [])
    assert not same_search(stored, search(*ended(2, score=0.5)))
    assert not same_search(stored, search(trial({"a": 2}, status="RUNNING")))
    assert not same_search(stored, search(*ended(2, first=5)))
    closer = search(*ended(3))
    assert same_search(closer, closer) > same_search(stored, closer)


def test_copies_agree_in_all_that_ended_and_in_enough():
    assert same_copy(search(*ended(3)), search(*ended(5)), moved=False)
    assert not same_copy(search(*ended(2)), search(*ended(5)), moved=False)
    assert same_copy(search(*ended(2)), search(*ended(5)), moved=True)
    assert not same_copy(search(*ended(4)), search(*ended(2)), moved=True)
    differs = [*ended(3), *ended(1, score=0.5, first=3)]
    assert not same_copy(search(*ended(4)), search(*differs), moved=True)
    assert not same_copy(search(RUNNING), search(RUNNING), moved=True)
