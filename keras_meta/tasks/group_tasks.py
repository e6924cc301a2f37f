"""One task a user, a sensor, a shop: tasks from one table with a group column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.row_table import RowTable, first_bad_row, name_some
from keras_meta.tasks.task import Episode, TaskDistribution, check_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ORDERS = ("random", "time")
SEVERAL = (
    "For several inputs or targets pass a tf.data.Dataset of "
    "`keras_meta.tasks.Episode((a, b), y, (a, b), y)` instead."
)


def from_groups(
    x: ArrayLike,
    y: ArrayLike,
    group: ArrayLike,
    shots: int = 5,
    queries: int = 15,
    order: str = "random",
) -> GroupTasks:
    """Returns `GroupTasks(x, y, group, shots, queries, order)`.

    Args:
        x: array `(n, ...)`.
        y: array `(n,)` or `(n, ...)`.
        group: array `(n,)`, the group of each row.
        shots: int >= 1, support examples.
        queries: int >= 1, query examples.
        order: `"random"` or `"time"`.
    """
    return GroupTasks(x, y, group, shots=shots, queries=queries, order=order)


class GroupTasks(TaskDistribution):
    """One task a group: adapt to a few rows of a user, predict the others.

    An episode draws a group, each equally likely, then rows of that group. Support
    and query rows never overlap. Where a group has fewer than `queries` rows left
    for the query, these are repeated as evenly as possible.

    - support_x `(shots, ...)`, query_x `(queries, ...)`: float32, or int32 where
      `x` holds integers or bools (cast measurements to float yourself).
    - support_y `(shots, ...)`, query_y `(queries, ...)`: float32, where `y` of shape
      `(n,)` becomes `(n, 1)`; or int32, with the shape kept, where `y` holds
      integers or bools.

    Args:
        x: numeric, finite array `(n, ...)`.
        y: numeric, finite array `(n,)` or `(n, ...)`.
        group: array `(n,)` of hashable values, such as ints or strings.
        shots: int >= 1, support examples. A group needs at least `shots + 1` rows.
        queries: int >= 1, query examples.
        order: `"random"`: rows are drawn without regard to their order. `"time"`:
            rows are taken to be in order of time within a group, and the query
            rows come directly after the support rows, from a random start, so
            nothing looks into the future.

    Attributes:
        groups: list of the group values, in order of first appearance.
        sizes: list of ints, the rows of each.

    Raises:
        ValueError: if an argument is out of range, lengths differ, the data are
            empty, not numeric or not finite, or a group is too small.

    Example:

    ```python
    import numpy as np

    x = np.random.default_rng(0).normal(size=(60, 3))
    user = np.repeat(["ann", "bob", "eve"], 20)
    tasks = keras_meta.tasks.from_groups(x, x.sum(axis=1), user, shots=5, queries=10)
    print(tasks.sample(seed=0).query_y.shape)  # (10, 1)
    ```
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        group: ArrayLike,
        shots: int = 5,
        queries: int = 15,
        order: str = "random",
    ) -> None:
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        if order not in ORDERS:
            raise ValueError(
                f"Argument `order` must be one of {ORDERS}. Received: order={order!r}."
            )
        self.order = order
        is_list = isinstance(x, (list, tuple))
        x = _check_array("x", x)
        y = _check_array("y", y)
        if y.ndim == 1 and y.dtype == np.float32:
            y = y[:, np.newaxis]
        self.groups, codes = _number_groups(group)
        if not len(x) == len(y) == len(codes):
            raise ValueError(
                "Arguments `x`, `y` and `group` must have the same length. "
                f"Received: {len(x)}, {len(y)} and {len(codes)} rows."
                + (f" Argument `x` takes one array. {SEVERAL}" if is_list else "")
            )
        self.sizes = np.bincount(codes).tolist()
        self._check_sizes()
        self._table = RowTable(codes, len(self.groups))
        with tf.init_scope():
            self._x = tf.constant(x)
            self._y = tf.constant(y)

    def sample(self, seed: int | tf.Tensor) -> Episode:
        """Returns the group and the rows that belong to `seed`.

        Args:
            seed: int >= 0 or int64 tensor `(2,)`.

        Returns:
            `Episode`, see the class.
        """
        in_time = self.order == "time"
        num_keys = 1 if in_time else self._table.max_size
        group_draw, keys = tf.split(
            counter_random.bits(seed, (1 + num_keys,)), [1, num_keys]
        )
        groups = counter_random.integers_from_bits(group_draw, len(self.groups))
        sizes = tf.gather(self._table.sizes, groups)  # (1,)
        # Rows for the query: `left` of them, each used floor or ceil times.
        left = tf.minimum(sizes - self.shots, self.queries)
        turns = left * np.arange(self.queries) // self.queries + self.shots
        places = tf.concat([np.arange(self.shots), turns], axis=0)
        if in_time:
            starts = sizes - self.shots - left + 1
            positions = counter_random.integers_from_bits(keys, starts) + places
        else:
            count = min(self.shots + self.queries, self._table.max_size)
            chosen = counter_random.choose_from_bits(
                keys[tf.newaxis], count, sizes=sizes
            )
            positions = tf.gather(chosen[0], places)
        rows = self._table.rows(groups[0], positions)
        parts = [self.shots, self.queries]
        support_x, query_x = tf.split(tf.gather(self._x, rows), parts)
        support_y, query_y = tf.split(tf.gather(self._y, rows), parts)
        return Episode(support_x, support_y, query_x, query_y)

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, `arguments` and `data`."""
        return super().describe() | {
            "arguments": {
                "shots": self.shots,
                "queries": self.queries,
                "order": self.order,
            },
            "data": {
                "rows": sum(self.sizes),
                "groups": len(self.groups),
                "smallest_group": min(self.sizes),
                "largest_group": max(self.sizes),
            },
        }

    def _check_sizes(self):
        needed = self.shots + 1
        small = [i for i, size in enumerate(self.sizes) if size < needed]
        if small:
            named = name_some(
                [self.groups[i] for i in small], [self.sizes[i] for i in small]
            )
            raise ValueError(
                f"Every task needs at least shots + 1 = {needed} examples. "
                f"Too few in {len(small)} of {len(self.groups)}: {named}. "
                "Lower `shots`, or drop these tasks."
            )


def _check_array(name, values):
    """Returns a finite float32 or int32 array that is not empty."""
    parts = None
    if isinstance(values, dict):
        parts = values
    else:
        try:
            values = np.asarray(values)
        except ValueError:  # NumPy's "inhomogeneous shape".
            parts = values
    if parts is not None:
        raise ValueError(
            f"Argument `{name}` takes one array `(n, ...)`. Received: a "
            f"{type(parts).__name__} of {len(parts)} parts that make no array. "
            f"{SEVERAL}"
        )
    if values.ndim == 0 or values.size == 0:
        raise ValueError(
            f"Argument `{name}` must be an array `(n, ...)` that is not empty. "
            f"Received: shape {values.shape}."
        )
    if values.dtype.kind not in "buif":
        hint = f" For names use np.unique({name}, return_inverse=True)[1]."
        raise ValueError(
            f"Argument `{name}` must hold real numbers. Received: dtype {values.dtype}."
            f"{hint if name == 'y' else ''}"
        )
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        bad = first_bad_row(values)
        if bad is not None:
            raise ValueError(
                f"Argument `{name}` must be finite in float32. Received: a NaN or an "
                f"infinity, first in {name}[{bad}]. Fill or drop these rows."
            )
        return values
    if values.max() > np.iinfo(np.int32).max or values.min() < np.iinfo(np.int32).min:
        raise ValueError(
            f"Argument `{name}` must fit into int32 where it holds integers. "
            f"Received: values in [{values.min()}, {values.max()}]. "
            "Cast it to float, or number its values from 0."
        )
    return values.astype(np.int32)


def _number_groups(group):
    """Returns the group values in order of first appearance, and a code a row."""
    if isinstance(group, (list, tuple)):
        # As they are: NumPy would make strings of mixed values.
        values, group = group, np.empty(len(group), object)
        group[:] = values
    group = np.asarray(group)
    if group.ndim != 1:
        raise ValueError(
            f"Argument `group` must be an array `(n,)`. Received: shape {group.shape}."
        )
    numbers = {}
    codes = np.empty(len(group), np.int64)
    for row, value in enumerate(group.tolist()):
        # Only NaN and its like differ from themselves; each would be a group.
        if value is None or value != value:
            raise ValueError(
                "Argument `group` must name a group for every row. "
                f"Received: {value!r}, first in group[{row}]."
            )
        codes[row] = numbers.setdefault(value, len(numbers))
    return list(numbers), codes
