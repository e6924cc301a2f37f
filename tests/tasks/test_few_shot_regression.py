import json

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks.few_shot_regression import FewShotRegression
from keras_meta.tasks.group_tasks import GroupTasks
from keras_meta.testing.check_tasks import check_tasks


def task_arrays(sizes=(4, 9, 6)):
    """Inputs are 100 * task + example, targets their negatives."""
    inputs = [100.0 * task + np.arange(size) for task, size in enumerate(sizes)]
    return [x[:, np.newaxis] for x in inputs], [-x for x in inputs]


def test_conformance():
    tasks = FewShotRegression(*task_arrays(), shots=3, queries=4)
    assert "tf.vectorized_map" in check_tasks(tasks)


def test_examples_come_from_one_task_with_their_targets():
    tasks = FewShotRegression(*task_arrays(), shots=3, queries=4)
    seen = set()
    for seed in range(15):
        episode = tasks.sample(seed)
        assert episode.support_y.shape == (3, 1)
        assert episode.query_y.dtype == tf.float32
        np.testing.assert_array_equal(episode.query_y, -episode.query_x)
        x = np.concatenate([episode.support_x, episode.query_x]).ravel()
        assert len(set(x // 100)) == 1
        assert not set(x[:3]) & set(x[3:])
        seen.add(x[0] // 100)
    assert seen == {0, 1, 2}


def test_a_stacked_array_equals_group_tasks():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 12, 2, 3)), rng.normal(size=(4, 12))
    tasks = FewShotRegression(x, y, shots=5, queries=5)
    same = GroupTasks(
        x.reshape(48, 2, 3), y.ravel(), np.repeat(range(4), 12), shots=5, queries=5
    )
    for a, b in zip(tasks.sample(2), same.sample(2), strict=True):
        np.testing.assert_array_equal(a, b)
    assert tasks.sizes == [12] * 4


def test_describe_is_json():
    facts = FewShotRegression(*task_arrays(), shots=3, queries=4).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["class_name"] == "FewShotRegression"
    assert facts["data"] == {
        "tasks": 3,
        "examples": 19,
        "smallest_task": 4,
        "largest_task": 9,
    }


def test_wrong_data_are_refused():
    x, y = task_arrays()
    broken = [part.copy() for part in y]
    broken[1][2] = np.inf
    cases = [
        (x, y[:2], "same number of tasks. Received: 3 and 2"),
        (x, [y[0], y[1], y[1]], "Received: 6 and 9 in task 2"),
        (x, [part.astype(int) for part in y], "use FewShotClassification.*int64"),
        (x, broken, r"first in targets\[1\]\[2\]"),
        ([x[0], x[1][:, [0, 0]], x[2]], y, r"\(1,\) in inputs\[0\], \(2,\) in inputs"),
        ([], [], "none of them empty"),
        ([x[0], x[1][:0]], y[:2], r"shapes \[\(4, 1\), \(0, 1\)\]"),
    ]
    for inputs, targets, text in cases:
        with pytest.raises(ValueError, match=text):
            FewShotRegression(inputs, targets, shots=2, queries=2)


def test_wrong_counts_and_too_small_tasks_are_refused():
    with pytest.raises(ValueError, match="`shots` must be an integer >= 1"):
        FewShotRegression(*task_arrays(), shots=0)
    with pytest.raises(ValueError, match=r"= 7 .*2 of 3: 0 \(4 .*\), 2 \(6 examples"):
        FewShotRegression(*task_arrays(), shots=6)
