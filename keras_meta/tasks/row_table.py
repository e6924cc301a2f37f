"""Which rows of a data array belong to which group."""

import numpy as np
import tensorflow as tf

MAX_NAMED = 8


class RowTable:
    """The rows of each group, for groups of unequal size, without padding.

    Args:
        codes: integer array `(rows,)`, the group of each row, in [0, num_groups).
        num_groups: int >= 1. Every group has at least one row.

    Attributes:
        num_groups: int.
        max_size: int, rows of the largest group.
        sizes: int64 tensor `(num_groups,)`, rows of each group.

    Example:

    ```python
    import numpy as np
    import tensorflow as tf
    from keras_meta.tasks.row_table import RowTable

    table = RowTable(np.array([0, 1, 0, 1, 1]), num_groups=2)
    print(table.rows(tf.constant([1], tf.int64), [[0, 2]]).numpy())  # [[1 4]]
    ```
    """

    def __init__(self, codes, num_groups):
        sizes = np.bincount(codes, minlength=num_groups)
        self.num_groups = int(num_groups)
        self.max_size = int(sizes.max())
        # Eager constants are captured by a graph; made inside one, every graph
        # would hold its own copy.
        with tf.init_scope():
            self.sizes = tf.constant(sizes, tf.int64)
            self._starts = tf.constant(np.cumsum(sizes) - sizes, tf.int64)
            self._order = tf.constant(np.argsort(codes, kind="stable"), tf.int64)

    def rows(self, groups, positions):
        """Returns row numbers of the data array.

        Args:
            groups: int64 tensor `(...)`, in [0, num_groups).
            positions: int64 tensor `(..., k)`, positions within the group, in the
                order in which the rows appear in the data.

        Returns:
            int64 tensor `(..., k)`.
        """
        starts = tf.gather(self._starts, groups)
        return tf.gather(self._order, starts[..., tf.newaxis] + positions)


def first_bad_row(array):
    """Returns the first row that holds a NaN or an infinity, or None.

    Args:
        array: numeric array `(rows, ...)`.

    Returns:
        int or None.
    """
    if array.dtype.kind != "f":
        return None
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return int(np.argmax(bad)) if bad.any() else None


def name_some(names, sizes):
    """Returns e.g. `'a' (3 examples), 'b' (1 example) and 4 more` for a message.

    Args:
        names: list of group or class values.
        sizes: list of ints, the examples of each.
    """
    pairs = list(zip(names, sizes, strict=True))
    text = ", ".join(
        f"{name!r} ({size} example{'' if size == 1 else 's'})"
        for name, size in pairs[:MAX_NAMED]
    )
    more = len(pairs) - MAX_NAMED
    return f"{text} and {more} more" if more > 0 else text
