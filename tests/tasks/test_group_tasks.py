import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_meta.tasks.group_tasks import GroupTasks, from_groups
from keras_meta.testing.check_tasks import check_tasks

USERS = np.repeat(["cy", "al", "bo"], [4, 9, 30])


def row_numbers():
    """x is the row's number, y ten times it."""
    rows = np.arange(43.0)
    return rows[:, np.newaxis], 10 * rows


def draw(tasks, count):
    seeds = tf.stack([tf.zeros(count, tf.int64), tf.range(count, dtype=tf.int64)], 1)
    episodes = tf.vectorized_map(tasks.sample, seeds, fallback_to_while_loop=False)
    support, query = (np.array(x)[..., 0] for x in (episodes[0], episodes[2]))
    return support.astype(int), query.astype(int)


@pytest.mark.parametrize("order", ["random", "time"])
def test_conformance(order):
    tasks = GroupTasks(*row_numbers(), USERS, shots=3, queries=10, order=order)
    assert "tf.vectorized_map" in check_tasks(tasks, seeds=range(5))


@pytest.mark.parametrize("order", ["random", "time"])
def test_support_and_query_are_disjoint_rows_of_one_group(order):
    tasks = from_groups(*row_numbers(), USERS, shots=3, queries=10, order=order)
    groups = []
    for support, query in zip(*draw(tasks, 200), strict=True):
        names = set(USERS[support]) | set(USERS[query])
        assert len(names) == 1
        assert len(set(support)) == 3
        assert not set(support) & set(query)
        name = names.pop()
        groups.append(name)
        # Of the group's rows, what is left over is used floor or ceil times.
        times = np.unique(query, return_counts=True)[1]
        left = min(10, (USERS == name).sum() - 3)
        assert len(times) == left
        assert times.min() >= 10 // left and times.max() <= -(-10 // left)
    counts = np.unique(groups, return_counts=True)[1]
    assert stats.chisquare(counts).pvalue > 0.01


def test_random_order_draws_every_row_of_a_group_for_the_support():
    x, y = row_numbers()
    support, query = draw(GroupTasks(x[:6], y[:6], [1] * 6, 2, 3), 300)
    assert set(support.ravel()) == set(query.ravel()) == set(range(6))
    counts = np.bincount(support.ravel(), minlength=6)
    assert stats.chisquare(counts).pvalue > 0.01


def test_time_order_never_looks_into_the_future():
    # Rows of the groups alternate, so a group's rows are not neighbours.
    group = np.tile([0, 1], 20)
    x = np.arange(40.0)[:, np.newaxis]
    support, query = draw(GroupTasks(x, x, group, 3, 5, order="time"), 400)
    starts = set()
    for first, then in zip(support, query, strict=True):
        block = np.concatenate([first, then])
        np.testing.assert_array_equal(np.diff(block), 2)
        starts.add(first[0])
    # 20 rows a group and blocks of 8: every start from 0 to 12 in both groups.
    assert starts == set(range(26))


def test_time_order_of_a_small_group_repeats_the_rest_in_order():
    x = np.arange(5.0)[:, np.newaxis]
    tasks = GroupTasks(x, x, ["a"] * 5, shots=3, queries=5, order="time")
    support, query = draw(tasks, 3)
    np.testing.assert_array_equal(support, [[0, 1, 2]] * 3)
    np.testing.assert_array_equal(query, [[3, 3, 3, 4, 4]] * 3)


def test_dtypes_and_shapes_of_x_and_y():
    x, y = row_numbers()
    episode = GroupTasks(x, y, USERS, 2, 3).sample(0)
    assert episode.support_y.shape == (2, 1)
    assert episode.support_y.dtype == episode.support_x.dtype == tf.float32
    np.testing.assert_array_equal(episode.query_y, 10 * episode.query_x)
    labels = GroupTasks(x, y.astype(np.uint8), USERS, 2, 3).sample(0)
    assert labels.query_y.shape == (3,)
    assert labels.query_y.dtype == tf.int32
    wide = GroupTasks(x.astype(int), np.stack([y, y], 1), USERS, 2, 3).sample(0)
    assert wide.query_y.shape == (3, 2)
    assert wide.query_x.dtype == tf.int32


def test_groups_are_listed_in_order_of_first_appearance():
    tasks = GroupTasks(*row_numbers(), USERS, shots=3)
    assert tasks.groups == ["cy", "al", "bo"]
    assert tasks.sizes == [4, 9, 30]


def test_describe_is_json_and_holds_sizes_but_no_group_names():
    facts = GroupTasks(*row_numbers(), USERS, shots=3, order="time").describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["arguments"] == {"shots": 3, "queries": 15, "order": "time"}
    assert facts["data"] == {
        "rows": 43,
        "groups": 3,
        "smallest_group": 4,
        "largest_group": 30,
    }
    assert "cy" not in json.dumps(facts)


def test_too_small_groups_are_named():
    text = (
        r"at least shots \+ 1 = 10 examples. Too few in 2 of 3: 'cy' \(4 examples\), "
        r"'al' \(9 examples\). Lower `shots`, or drop these tasks."
    )
    with pytest.raises(ValueError, match=text):
        GroupTasks(*row_numbers(), USERS, shots=9)


def test_wrong_data_are_refused():
    x, y = row_numbers()
    broken = x.copy()
    broken[7] = np.nan
    unnamed = USERS.astype(object)
    unnamed[3] = float("nan")
    cases = [
        (broken, y, USERS, r"`x` must be finite .*first in x\[7\]"),
        (x, broken, USERS, r"`y` must be finite .*first in y\[7\]"),
        (x, y * 1e300, USERS, r"`y` must be finite in float32.*first in y\[1\]"),
        (x, y.astype(np.int64) << 40, USERS, "`y` must fit into int32"),
        (x.astype(str), y, USERS, "`x` must hold real numbers. Received: dtype <U"),
        (x[:0], y, USERS, r"`x` must be an array .*not empty.*shape \(0, 1\)"),
        (x, y[:-1], USERS, "same length. Received: 43, 42 and 43 rows"),
        (x, y, USERS[:, np.newaxis], r"`group` must be an array `\(n,\)`"),
        (x, y, unnamed, r"a group for every row. Received: nan, first in group\[3\]"),
    ]
    for inputs, targets, group, text in cases:
        with pytest.raises(ValueError, match=text):
            GroupTasks(inputs, targets, group, shots=3)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"shots": 0}, "`shots` must be an integer >= 1"),
        ({"queries": 0}, "`queries` must be an integer >= 1"),
        ({"order": "Time"}, r"`order` must be one of .*Received: order='Time'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        from_groups(*row_numbers(), USERS, **arguments)


def test_mixed_group_values_stay_what_they_are():
    x = np.zeros((20, 1))
    tasks = from_groups(x, x, [1] * 10 + ["1"] * 10, shots=2, queries=2)
    assert tasks.groups == [1, "1"]
    with pytest.raises(ValueError, match="must name a group for every row"):
        from_groups(x, x, ["ann"] * 10 + [float("nan")] * 10, shots=2, queries=2)


def test_several_inputs_are_referred_to_a_dataset():
    x, y = row_numbers()
    several = r"For several inputs .* tf.data.Dataset of `keras_meta.tasks.Episode\(\(a"
    for inputs in ([x, x[:, 0]], {"a": x, "b": x}):
        with pytest.raises(
            ValueError, match=f"`x` takes one array .*2 parts.*{several}"
        ):
            from_groups(inputs, y, USERS, shots=3)
    with pytest.raises(ValueError, match=f"2, 43 and 43 rows.*one array. {several}"):
        from_groups([x, x], y, USERS, shots=3)


def test_names_as_targets_are_referred_to_numpy():
    x, _ = row_numbers()
    with pytest.raises(ValueError, match=r"`y` must .* np.unique\(y, return_inverse=T"):
        from_groups(x, USERS, USERS, shots=3)
