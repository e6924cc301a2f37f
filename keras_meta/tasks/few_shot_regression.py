"""Few-shot regression: tasks that already lie apart, one array a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_meta.tasks.group_tasks import GroupTasks
from keras_meta.tasks.row_table import first_bad_row
from keras_meta.tasks.task import Episode, TaskDistribution

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf
    from numpy.typing import ArrayLike


class FewShotRegression(TaskDistribution):
    """Episodes from data given task by task, with real-valued targets.

    An episode draws a task, each equally likely, then examples of it as
    `GroupTasks` with `order="random"` does: support and query never overlap, and
    where fewer than `queries` are left, these are repeated as evenly as possible.

    - support_x `(shots, ...)`, query_x `(queries, ...)`: float32, or int32 where
      the inputs hold integers.
    - support_y `(shots, ...)`, query_y `(queries, ...)`: float32, at least rank 2.

    Args:
        inputs: array `(tasks, examples, ...)`, or list of arrays `(examples, ...)`,
            one a task, whose numbers of examples may differ.
        targets: the same for the targets, floating. Targets `(tasks, examples)`
            become `(tasks, examples, 1)`.
        shots: int >= 1, support examples. A task needs at least `shots + 1`.
        queries: int >= 1, query examples.

    Attributes:
        sizes: list of ints, the examples of each task.

    Raises:
        ValueError: if an argument is out of range, shapes do not fit, the data are
            empty, not numeric or not finite, or a task is too small.

    Example:

    ```python
    import numpy as np

    x = np.random.default_rng(0).normal(size=(8, 30, 2))  # 8 tasks
    y = x @ np.ones(2)
    tasks = keras_meta.tasks.FewShotRegression(x, y, shots=10, queries=10)
    print(tasks.sample(seed=0).support_x.shape)  # (10, 2)
    ```
    """

    def __init__(
        self,
        inputs: ArrayLike | Sequence[ArrayLike],
        targets: ArrayLike | Sequence[ArrayLike],
        shots: int = 10,
        queries: int = 10,
    ) -> None:
        inputs = _check_tasks("inputs", inputs)
        targets = _check_tasks("targets", targets)
        sizes = [len(task) for task in inputs]
        target_sizes = [len(task) for task in targets]
        if len(sizes) != len(target_sizes):
            raise ValueError(
                "Arguments `inputs` and `targets` must have the same number of tasks. "
                f"Received: {len(sizes)} and {len(target_sizes)}."
            )
        for task, (size, target_size) in enumerate(
            zip(sizes, target_sizes, strict=True)
        ):
            if size != target_size:
                raise ValueError(
                    "Arguments `inputs` and `targets` must have the same number of "
                    f"examples in each task. Received: {size} and {target_size} in "
                    f"task {task}."
                )
        rows = np.repeat(np.arange(len(sizes)), sizes)
        inputs = np.concatenate(inputs)
        targets = np.concatenate(targets)
        if targets.dtype.kind != "f":
            raise ValueError(
                "Argument `targets` must be floating; for classes use "
                f"FewShotClassification. Received: dtype {targets.dtype}."
            )
        for name, values in (("inputs", inputs), ("targets", targets)):
            bad = first_bad_row(values)
            if bad is not None:
                task = rows[bad]
                example = bad - int(np.sum(sizes[:task]))
                raise ValueError(
                    f"Argument `{name}` must be finite. Received: a NaN or an "
                    f"infinity, first in {name}[{task}][{example}]. Fill or drop it."
                )
        self._tasks = GroupTasks(inputs, targets, rows, shots, queries)
        self.sizes = self._tasks.sizes

    def sample(self, seed: int | tf.Tensor) -> Episode:
        """Returns the task and the examples that belong to `seed`.

        Args:
            seed: int >= 0 or int64 tensor `(2,)`.

        Returns:
            `Episode`, see the class.
        """
        return self._tasks.sample(seed)

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, `arguments` and `data`."""
        return super().describe() | {
            "arguments": {"shots": self._tasks.shots, "queries": self._tasks.queries},
            "data": {
                "tasks": len(self.sizes),
                "examples": sum(self.sizes),
                "smallest_task": min(self.sizes),
                "largest_task": max(self.sizes),
            },
        }


def _check_tasks(name, tasks):
    """Returns a list of arrays `(examples, ...)` of equal feature shape."""
    tasks = [np.asarray(task) for task in tasks]
    if not tasks or any(task.ndim == 0 or task.size == 0 for task in tasks):
        raise ValueError(
            f"Argument `{name}` must be an array `(tasks, examples, ...)` or a list "
            "of arrays `(examples, ...)`, none of them empty. "
            f"Received: shapes {[task.shape for task in tasks[:8]]}."
        )
    for number, task in enumerate(tasks):
        if task.shape[1:] != tasks[0].shape[1:]:
            raise ValueError(
                f"Argument `{name}` must have the same shape an example in every "
                f"task. Received: {tasks[0].shape[1:]} in {name}[0], "
                f"{task.shape[1:]} in {name}[{number}]."
            )
    return tasks
