import numpy as np
import tensorflow as tf

from keras_meta.tasks.row_table import RowTable, first_bad_row, name_some


def test_rows_keep_their_order_within_a_group():
    table = RowTable(np.array([1, 0, 1, 2, 1]), num_groups=3)
    assert table.max_size == 3
    assert table.sizes.numpy().tolist() == [1, 3, 1]
    groups = tf.constant([1, 0], tf.int64)
    positions = tf.constant([[2, 0], [0, 0]], tf.int64)
    assert table.rows(groups, positions).numpy().tolist() == [[4, 0], [1, 1]]


def test_first_bad_row_finds_nan_and_infinity():
    array = np.zeros((4, 2, 2))
    assert first_bad_row(array) is None
    array[3, 0, 1] = np.nan
    array[2, 1, 1] = np.inf
    assert first_bad_row(array) == 2
    assert first_bad_row(np.zeros((4, 2), np.int32)) is None


def test_name_some_names_eight_and_counts_the_others():
    assert name_some(["a", 2], [1, 3]) == "'a' (1 example), 2 (3 examples)"
    text = name_some(list(range(10)), [2] * 10)
    assert text.endswith("7 (2 examples) and 2 more")
