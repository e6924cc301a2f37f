"""Checks that episodes can be classified by comparison, before any graph is traced."""

import numpy as np
import tensorflow as tf

from keras_meta.training import episode_checks


def check_episodes(encoder, source):
    """Raises ValueError unless a metric-based learner can learn the tasks.

    Args:
        encoder: built `keras.Model`.
        source: `TaskSource`.
    """
    example = source.example()
    episode_checks.check_finite_episode(example)
    support = checked_classes("support_y", example.support_y)
    query = checked_classes("query_y", example.query_y)
    ways = source.num_classes
    missing = sorted(set(range(ways)) - set(support.tolist()))
    if missing:
        raise ValueError(
            "Every class of an episode needs a support example. Received: "
            f"{len(support)} support examples for {ways} ways, none of class "
            f"{missing[0]}{' and others' if len(missing) > 1 else ''}. Raise `shots`, "
            "or number the classes of each episode from 0 without gaps."
        )
    if query.max() >= ways:
        raise ValueError(
            f"Query classes must be in [0, {ways}), those of the support set. "
            f"Received: class {query.max()}."
        )
    for x in (example.support_x, example.query_x):
        embeddings = episode_checks.checked_prediction(encoder, x)
        if tuple(embeddings.shape[1:]) != tuple(encoder.output_shape[1:]):
            raise ValueError(
                f"Encoder {encoder.name!r} must return {encoder.output_shape} on the "
                f"tasks' inputs. Received: {tuple(embeddings.shape)}."
            )


def checked_labels(support_y):
    """Returns class numbers and their count, for a support set.

    Args:
        support_y: tensor of class numbers `(num_support,)`, from 0, each at least once.

    Returns:
        Tuple `(labels, ways)`: int array and int.

    Raises:
        ValueError: if they are not.
    """
    labels = checked_classes("support_y", support_y)
    ways = int(labels.max()) + 1
    if len(set(labels.tolist())) != ways:
        raise ValueError(
            "`support_y` must hold every class number from 0 to its largest. "
            f"Received: {sorted(set(labels.tolist()))}."
        )
    return labels, ways


def checked_classes(name, y):
    """Returns class numbers as an int array `(num_examples,)`.

    Raises:
        ValueError: unless they are integers >= 0 of that shape.
    """
    if tf.nest.is_nested(y) or not y.dtype.is_integer or y.shape.rank != 1:
        received = "a nest" if tf.nest.is_nested(y) else f"{y.dtype.name} {y.shape}"
        raise ValueError(
            f"`{name}` must hold class numbers, integers of shape (num_examples,). "
            f"Received: {received}."
        )
    values = np.array(y)
    if len(values) and values.min() < 0:
        raise ValueError(
            f"`{name}` must hold class numbers >= 0. Received: {values.min()}."
        )
    return values
