"""What a task distribution is: a pure function from a seed to an episode."""

from __future__ import annotations

import numbers
import reprlib
import typing
from typing import Any

import tensorflow as tf


class Episode(typing.NamedTuple):
    """One task, split into the part to adapt on and the part to be judged on.

    Each field is a tensor, or a nest of tensors for models with several inputs
    or outputs. The leading axis of each tensor counts examples.

    Attributes:
        support_x: `(support examples, ...)`, inputs the learner adapts on.
        support_y: `(support examples, ...)`, their targets.
        query_x: `(query examples, ...)`, inputs the adapted learner is judged on.
        query_y: `(query examples, ...)`, their targets.

    Example:

    ```python
    episode = keras_meta.tasks.Sinusoid(shots=5).sample(0)
    print(episode.support_x.shape)  # (5, 1)
    ```
    """

    support_x: typing.Any
    support_y: typing.Any
    query_x: typing.Any
    query_y: typing.Any


class TaskDistribution:
    """Base class of task distributions: `sample(seed)` is a pure function.

    The trainer feeds seeds, not data, so a run is reproducible from one seed and
    a resumed run goes on where it stopped. A subclass writes `sample` and, where
    a preset's card should tell more, `describe`.

    The distributions of this package work in `tf.vectorized_map`, which draws all
    tasks of a meta-batch at once. A subclass may use `tf.random.stateless_*`
    instead. These have no `tf.vectorized_map` converter, so the trainer then maps
    over the tasks one after another, and they give other numbers with
    `jit_compile=True` than without. `keras_meta.tasks.counter_random` has draws
    without either limit. `keras_meta.testing.check_tasks` checks a subclass.

    Example:

    ```python
    import tensorflow as tf
    from keras_meta.tasks import Episode, TaskDistribution, counter_random

    class Lines(TaskDistribution):
        def sample(self, seed):
            slope = counter_random.normal(seed, (1, 1), stream=0)
            x = counter_random.uniform(seed, (10, 1), -1.0, 1.0, stream=1)
            return Episode(x[:5], slope * x[:5], x[5:], slope * x[5:])

    print(Lines().sample(3).query_y.shape)  # (5, 1)
    ```
    """

    _element_spec = None

    def sample(self, seed: int | tf.Tensor) -> Episode:
        """Returns the episode that belongs to `seed`.

        Must use graph-safe TensorFlow ops only, keep nothing between calls, and
        return tensors whose shapes are fully known when traced.

        Args:
            seed: Python int >= 0 (n means the tensor `[0, n]`), or an int64 tensor
                `(2,)`.

        Returns:
            An `Episode`, the same one whenever the seed is the same.
        """
        raise NotImplementedError(
            f"Class {type(self).__name__} must implement `sample(seed)` and return "
            "an Episode."
        )

    @property
    def element_spec(self) -> Episode:
        """`Episode` of `tf.TensorSpec`: shapes and dtypes of every episode.

        Traced once, then kept.
        """
        if self._element_spec is None:
            traced = tf.function(self.sample, autograph=False)
            concrete = traced.get_concrete_function(tf.TensorSpec((2,), tf.int64))
            self._element_spec = tf.nest.map_structure(
                lambda output: tf.TensorSpec(output.shape, output.dtype),
                concrete.structured_outputs,
            )
        return self._element_spec

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts for a preset's card: names and sizes, no data.

        Returns:
            dict with `class_name` (str) and `episode`, a dict from each of the
            four fields to the `{"shape": [int, ...], "dtype": str}` of its tensors
            (a list of these where the field is a nest).
        """
        episode = {}
        for name, specs in zip(Episode._fields, self.element_spec, strict=True):
            facts = [
                {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
                for spec in tf.nest.flatten(specs)
            ]
            episode[name] = facts if tf.nest.is_nested(specs) else facts[0]
        return {"class_name": type(self).__name__, "episode": episode}


def check_count(name, value):
    """Returns `value` as an int; it must be an integer >= 1.

    Args:
        name: str, the argument's name, for the message.
        value: what the caller passed.

    Returns:
        int >= 1.

    Raises:
        ValueError: if `value` is a bool, not an integer, or below 1.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < 1:
        raise ValueError(
            f"Argument `{name}` must be an integer >= 1. "
            f"Received: {name}={reprlib.repr(value)}."
        )
    return int(value)
