"""Regression on sine waves: the field's first benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.ranges import checked_range
from keras_meta.tasks.task import Episode, TaskDistribution, check_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self


class Sinusoid(TaskDistribution):
    """Regression tasks `y = amplitude * sin(frequency * x + phase)`.

    A task is one sine wave; its three numbers and all inputs are drawn uniformly.
    The defaults are those of Meta-SGD (Li et al. 2017, arXiv:1707.09835, section
    4.1): frequency from [0.8, 1.2]. MAML (Finn et al. 2017, arXiv:1703.03400,
    section 5.1) keeps the frequency at 1: see `Sinusoid.maml`.

    Every field of an episode is float32: support `(shots, 1)`, query
    `(queries, 1)`.

    Args:
        shots: int >= 1, support examples.
        queries: int >= 1, query examples.
        frequency: number, or pair (low, high), in radians per unit of x.
        amplitude: number, or pair (low, high).
        phase: number, or pair (low, high), in radians.
        input_range: number, or pair (low, high), of x.

    Raises:
        ValueError: if a count is below 1, or a range is not finite or not in order.

    Example:

    ```python
    tasks = keras_meta.tasks.Sinusoid(shots=10)
    support_x, support_y, query_x, query_y = tasks.sample(seed=0)
    print(support_x.shape)  # (10, 1)
    ```
    """

    def __init__(
        self,
        shots: int = 10,
        queries: int = 10,
        frequency: float | Sequence[float] = (0.8, 1.2),
        amplitude: float | Sequence[float] = (0.1, 5.0),
        phase: float | Sequence[float] = (0.0, np.pi),
        input_range: float | Sequence[float] = (-5.0, 5.0),
    ) -> None:
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.frequency = checked_range("frequency", frequency)
        self.amplitude = checked_range("amplitude", amplitude)
        self.phase = checked_range("phase", phase)
        self.input_range = checked_range("input_range", input_range)
        examples = self.shots + self.queries
        ranges = [self.frequency, self.amplitude, self.phase]
        ranges += [self.input_range] * examples
        # One draw gives all numbers of a task: (3 + examples, 1).
        self._low, self._high = np.transpose(ranges)[..., np.newaxis]

    @classmethod
    def maml(cls, shots: int = 10, queries: int = 10) -> Self:
        """Returns the distribution of the MAML paper: frequency 1 for every task.

        Args:
            shots: int >= 1, support examples.
            queries: int >= 1, query examples.
        """
        return cls(shots=shots, queries=queries, frequency=1.0)

    def sample(self, seed: int | tf.Tensor) -> Episode:
        """Returns the sine wave and the examples that belong to `seed`.

        Args:
            seed: int >= 0 or int64 tensor `(2,)`.

        Returns:
            `Episode` of float32 `(shots, 1)` and `(queries, 1)`.
        """
        numbers_drawn = counter_random.uniform(
            seed, self._low.shape, self._low, self._high
        )
        examples = self.shots + self.queries
        frequency, amplitude, phase, x = tf.split(numbers_drawn, [1, 1, 1, examples])
        y = amplitude * tf.sin(frequency * x + phase)  # (examples, 1)
        support_x, query_x = tf.split(x, [self.shots, self.queries])
        support_y, query_y = tf.split(y, [self.shots, self.queries])
        return Episode(support_x, support_y, query_x, query_y)

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, and `arguments`."""
        return super().describe() | {
            "arguments": {
                "shots": self.shots,
                "queries": self.queries,
                "frequency": list(self.frequency),
                "amplitude": list(self.amplitude),
                "phase": list(self.phase),
                "input_range": list(self.input_range),
            }
        }
