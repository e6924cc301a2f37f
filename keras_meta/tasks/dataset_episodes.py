"""Episodes from a user's own `tf.data.Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_meta.tasks.task import Episode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCEPTED = (
    "an Episode, ((support_x, support_y), (query_x, query_y)), the flat tuple "
    "(support_x, support_y, query_x, query_y), or a dict with these four keys"
)
SINGLE = (
    "Elements must be single episodes: do not batch the dataset over tasks, "
    "`meta_batch_size` does that."
)


def as_episode(element: Episode | Sequence[Any] | Mapping[str, Any]) -> Episode:
    """Returns `element`, in one of the four accepted forms, as an `Episode`.

    Args:
        element: an `Episode`; `((support_x, support_y), (query_x, query_y))`; a flat
            tuple of the four; or a dict with the keys `support_x`, `support_y`,
            `query_x` and `query_y`.

    Returns:
        `Episode` of the same tensors.

    Raises:
        TypeError: if `element` is neither a tuple nor a list nor a dict.
        ValueError: if it has other parts or keys.

    Example:

    ```python
    import tensorflow as tf

    x, y = tf.zeros((5, 1)), tf.ones((5, 1))
    episode = keras_meta.tasks.as_episode(((x, y), (x, y)))
    ```
    """
    if isinstance(element, dict):
        if set(element) != set(Episode._fields):
            raise ValueError(
                "An episode given as a dict must have exactly the keys "
                f"{list(Episode._fields)}. Received: {sorted(map(str, element))}."
            )
        return Episode(**element)
    if not isinstance(element, (tuple, list)):
        raise TypeError(
            f"An episode must be {ACCEPTED}. Received: {type(element).__name__}."
        )
    if len(element) == 4:
        return Episode(*element)
    pairs = [isinstance(part, (tuple, list)) and len(part) == 2 for part in element]
    if pairs == [True, True]:
        return Episode(*element[0], *element[1])
    raise ValueError(
        f"An episode must be {ACCEPTED}. Received: a {type(element).__name__} of "
        f"{len(element)} parts: {tf.nest.map_structure(_name_part, element)}."
    )


def episodes_from_dataset(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the dataset with each element as an `Episode`.

    Only `dataset.element_spec` is looked at; nothing is read.

    Args:
        dataset: `tf.data.Dataset` of single episodes, not batched over tasks, in one
            of the forms of `as_episode`. Numbers of examples must be known.

    Returns:
        `tf.data.Dataset` of `Episode`.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`.
        ValueError: if the elements are no episodes, a number of examples is unknown,
            inputs and targets differ in it, or support and query do not fit.

    Example:

    ```python
    import tensorflow as tf

    x = tf.zeros((100, 10, 1))  # 100 tasks of 5 + 5 examples
    dataset = tf.data.Dataset.from_tensor_slices((x, x)).map(
        lambda x, y: ((x[:5], y[:5]), (x[5:], y[5:]))
    )
    episodes = keras_meta.tasks.episodes_from_dataset(dataset)
    ```
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "Argument `dataset` must be a tf.data.Dataset of episodes. "
            f"Received: {type(dataset).__name__}."
        )
    specs = as_episode(dataset.element_spec)
    for name, spec in zip(Episode._fields, specs, strict=True):
        _check_examples(name, spec)
    for part in ("support", "query"):
        _check_lengths(part, getattr(specs, f"{part}_x"), getattr(specs, f"{part}_y"))
    _check_fit("x", specs.support_x, specs.query_x)
    _check_fit("y", specs.support_y, specs.query_y)
    # `map` spreads a tuple over the arguments, and passes a dict as one.
    return dataset.map(
        lambda *parts: as_episode(parts[0] if len(parts) == 1 else parts)
    )


def _name_part(part):
    return str(getattr(part, "shape", type(part).__name__))


def _check_examples(name, nest):
    for spec in tf.nest.flatten(nest):
        if not isinstance(spec, tf.TensorSpec):
            raise ValueError(
                f"The dataset's `{name}` must be dense tensors. Received: {spec}."
            )
        if spec.shape.rank is None or spec.shape.rank == 0 or spec.shape[0] is None:
            raise ValueError(
                f"The dataset's `{name}` must have a known number of examples as its "
                f"leading dimension. Received: shape {spec.shape}. {SINGLE} If these "
                "are examples, batch them with drop_remainder=True, or add "
                "tf.ensure_shape in a map."
            )
        if not spec.shape[0]:
            raise ValueError(
                f"The dataset's `{name}` must hold at least one example. "
                f"Received: shape {spec.shape}."
            )


def _check_lengths(part, x, y):
    lengths = [spec.shape[0] for spec in tf.nest.flatten((x, y))]
    if len(set(lengths)) > 1:
        hint = ""
        if not tf.nest.is_nested(x) and x.shape[1:2] == lengths[-1:]:
            hint = (
                " If that is a list of inputs, use a tuple, as in `Episode((a, b), y, "
                "(a, b), y)`: tf.data makes one tensor of a list."
            )
        raise ValueError(
            f"The dataset's `{part}_x` and `{part}_y` must have the same number of "
            f"examples. Received: {lengths}.{hint}"
        )


def _check_fit(letter, support, query):
    support_specs, query_specs = tf.nest.flatten(support), tf.nest.flatten(query)
    fits = len(support_specs) == len(query_specs) and all(
        first.dtype == second.dtype
        and first.shape[1:].is_compatible_with(second.shape[1:])
        for first, second in zip(support_specs, query_specs, strict=True)
    )
    if not fits:
        lengths = {spec.shape[0] for spec in support_specs + query_specs}
        ranks = {spec.shape.rank for spec in support_specs + query_specs}
        batched = len(lengths) == 1 and min(ranks) > 1
        raise ValueError(
            f"The dataset's `support_{letter}` and `query_{letter}` must have the same "
            "structure, dtypes and shapes apart from the number of examples. "
            f"Received: {_name_specs(support_specs)} and {_name_specs(query_specs)}."
            f"{' ' + SINGLE if batched else ''}"
        )


def _name_specs(specs):
    return ", ".join(f"{spec.dtype.name} {spec.shape}" for spec in specs)
