"""Checks that a model, its loss and the tasks fit, before any graph is traced."""

import keras
import numpy as np
import tensorflow as tf


def check_model(model, argument="model"):
    """Raises unless `model` is a built Keras model with trainable variables."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Argument `{argument}` must be a `keras.Model`. "
            f"Received: {argument}={model!r}."
        )
    if not model.built or not model.trainable_variables:
        raise ValueError(
            f"Argument `{argument}` must be built and have trainable variables. "
            f"Received: model {model.name!r} with built={model.built} and "
            f"{len(model.trainable_variables)} trainable variables. "
            + (
                "Set `trainable = True` on what is to be learned."
                if model.built
                else "Start it with `keras.Input`, or call it on a batch first."
            )
        )


def check_episode(trainer, source):
    """Raises unless the trainer's model can learn the source's episodes.

    Args:
        trainer: compiled `MetaTrainer`.
        source: `TaskSource`.

    Raises:
        ValueError: naming what does not fit.
    """
    episode = source.example()
    check_finite_episode(episode)
    y_pred = checked_prediction(trainer.model, episode.support_x)
    ways = getattr(source.tasks, "ways", None)
    if ways is not None and not tf.nest.is_nested(y_pred):
        outputs = y_pred.shape[-1]
        if outputs != ways and not (ways == 2 and outputs == 1):
            raise ValueError(
                f"The model must have one output for each of the {ways} ways. "
                f"Received: model {trainer.model.name!r} with output shape "
                f"{_shape(y_pred)}. Give its last layer {ways} units, or make the "
                f"tasks with ways={outputs}."
            )
    check_prediction(episode.support_y, y_pred)
    query = checked_prediction(trainer.model, episode.query_x)
    check_prediction(episode.query_y, query)


def check_finite_episode(episode):
    """Raises ValueError if an `Episode` holds a NaN or an infinity."""
    for name, part in zip(episode._fields, episode, strict=True):
        _check_finite(f"the tasks' {name}", part)


def fresh_metric(metric):
    """Returns a metric like this one, without what it has counted."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric


def checked_support(trainer, support_x, support_y):
    """Returns a support set as tensors.

    Raises:
        ValueError: if it is empty, not finite, of two lengths, or does not fit.
    """
    support_x, support_y = checked_set(support_x, support_y)
    check_prediction(support_y, checked_prediction(trainer.model, support_x))
    return support_x, support_y


def checked_set(support_x, support_y):
    """Returns a support set as tensors, float64 as float32.

    Raises:
        ValueError: if it is empty, not finite, or of two lengths.
    """
    support_x = tf.nest.map_structure(_tensor, support_x)
    support_y = tf.nest.map_structure(_tensor, support_y)
    lengths = {
        int(part.shape[0]) if part.shape.rank else 0
        for part in [*tf.nest.flatten(support_x), *tf.nest.flatten(support_y)]
    }
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "`support_x` and `support_y` must hold the same number of examples, at "
            "least one. Received: shapes "
            f"{[_shape(p) for p in tf.nest.flatten(support_x)]} and "
            f"{[_shape(p) for p in tf.nest.flatten(support_y)]}."
        )
    _check_finite("`support_x`", support_x)
    _check_finite("`support_y`", support_y)
    return support_x, support_y


def checked_prediction(model, x):
    """Returns `model(x)`, eagerly.

    Raises:
        ValueError: if the model cannot be called on `x`.
    """
    try:
        return model(x, training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"Model {model.name!r} cannot be called on the tasks' inputs. Received: "
            f"inputs of shape {[_shape(part) for part in tf.nest.flatten(x)]}; the "
            f"model takes {getattr(model, 'input_shape', 'something else')}. "
            f"Keras says: {error}"
        ) from error


def check_prediction(y, y_pred):
    """Raises unless targets `y` fit the predictions.

    Float targets must have the predictions' shape, but for a last axis of 1 (Keras'
    losses would broadcast them without a word); class numbers must be in range.
    """
    if tf.nest.is_nested(y) or tf.nest.is_nested(y_pred):
        return
    targets, predicted = _squeezed(y), _squeezed(y_pred)
    are_classes = not y.dtype.is_floating and len(targets) == len(predicted) - 1
    if not are_classes:
        if targets != predicted:
            raise ValueError(
                "The targets must have the shape of the model's predictions. "
                f"Received: targets {_shape(y)}, predictions {_shape(y_pred)}. "
                "Change the model's last layer or the targets."
            )
        return
    outputs = y_pred.shape[-1]
    low, high = int(tf.reduce_min(y)), int(tf.reduce_max(y))
    if low < 0 or high >= outputs:
        raise ValueError(
            f"Class numbers must be in [0, {outputs}), as the model has {outputs} "
            f"outputs. Received: numbers from {low} to {high}. Give the last layer "
            "a unit for each class, and number classes from 0."
        )


def _check_finite(what, part):
    for tensor in tf.nest.flatten(part):
        if tensor.dtype.is_floating:
            bad = tf.where(~tf.math.is_finite(tensor))
            if len(bad):
                raise ValueError(
                    f"{what[0].upper()}{what[1:]} must be finite. Received: "
                    f"{len(bad)} values that are NaN or infinite, the first at index "
                    f"{tuple(int(i) for i in bad[0])} of shape {_shape(tensor)}."
                )


def _tensor(value):
    tensor = tf.convert_to_tensor(value)
    return tf.cast(tensor, "float32") if tensor.dtype == tf.float64 else tensor


def _squeezed(tensor):
    shape = _shape(tensor)
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def _shape(tensor):
    return tuple(np.array(tensor.shape).tolist())
