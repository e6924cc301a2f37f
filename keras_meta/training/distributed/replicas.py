"""The replicas of a `tf.distribute` strategy, as one of them sees the others."""

import tensorflow as tf


class OneReplica:
    """One device: what is shared among replicas is all its own."""

    count = 1

    def own(self, rows, groups=1):
        """Returns all `rows`."""
        return rows

    def with_own(self, rows, own, groups=1):
        """Returns `own`: there are no other rows."""
        return own

    def all(self, rows):
        """Returns `rows`: there are no others."""
        return rows

    def share(self, value):
        """Returns `value`, which is the whole."""
        return value


class Replicas:
    """Several replicas; the methods are for a function that `strategy.run` runs.

    A meta-batch is cut into as many equal parts as there are replicas, in order: what
    a task is does not depend on the replica that it falls to.

    Args:
        count: int >= 2.
    """

    def __init__(self, count):
        self.count = count

    def own(self, rows, groups=1):
        """Returns this replica's rows.

        Args:
            rows: tensor `(groups * num_tasks, ...)`, `groups` times all tasks.
            groups: int >= 1.

        Returns:
            Tensor `(groups * num_tasks / count, ...)`.
        """
        parts = tf.reshape(rows, self._parts_shape(rows, groups))
        return tf.reshape(parts[:, self._place()], self._own_shape(rows))

    def with_own(self, rows, own, groups=1):
        """Returns `rows` with this replica's rows replaced by `own`; see `own`."""
        parts = tf.reshape(rows, self._parts_shape(rows, groups))
        mine = tf.reshape(own, [groups, 1, -1, *rows.shape[1:]])
        is_mine = tf.range(self.count) == self._place()
        is_mine = tf.reshape(is_mine, [1, -1, *[1] * (parts.shape.rank - 2)])
        return tf.reshape(tf.where(is_mine, mine, parts), rows.shape)

    def all(self, rows):
        """Returns the rows of all replicas.

        Args:
            rows: tensor `(num_tasks / count, ...)`.

        Returns:
            Tensor `(num_tasks, ...)`, the same on every replica.
        """
        [gathered] = self.sum([self.padded(rows)])
        return gathered

    def padded(self, rows):
        """Returns `rows` at their place among zeros; the sum of these is `all`."""
        zeros = tf.zeros((rows.shape[0] * self.count, *rows.shape[1:]), rows.dtype)
        return self.with_own(zeros, rows)

    def share(self, value):
        """Returns what each replica contributes, so that the sum is the mean."""
        return value / self.count

    def sum(self, tensors):
        """Returns the sums over all replicas, in one message for each dtype.

        Args:
            tensors: list of tensors, of the same shapes on every replica.

        Returns:
            List of tensors, the same, bit for bit, on every replica.
        """
        summed = [None] * len(tensors)
        context = tf.distribute.get_replica_context()
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            places = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = tf.concat([tf.reshape(tensors[i], [-1]) for i in places], axis=0)
            flat = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
            sizes = [tensors[i].shape.num_elements() for i in places]
            for i, part in zip(places, tf.split(flat, sizes), strict=True):
                summed[i] = tf.reshape(part, tensors[i].shape)
        return summed

    def _place(self):
        return tf.distribute.get_replica_context().replica_id_in_sync_group

    def _parts_shape(self, rows, groups):
        return [groups, self.count, -1, *rows.shape[1:]]

    def _own_shape(self, rows):
        return [rows.shape[0] // self.count, *rows.shape[1:]]


ONE = OneReplica()


def own_copy(value):
    """Returns the first copy of a variable that this process has.

    Args:
        value: `tf.Variable` or tensor. To read a variable that replicas share, such as
            a metric's, may be a message to all workers; to read a copy is none.
    """
    if isinstance(value, tf.distribute.DistributedValues):
        return value.values[0]
    return value
