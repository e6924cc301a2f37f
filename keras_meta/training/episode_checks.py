"""Checks that a model, its loss and the tasks fit, before any graph is traced."""

import re
import reprlib

import keras
import numpy as np
import tensorflow as tf

from keras_meta.training.distributed.fit_checks import check_model_scope

MAX_QUOTED = 300
CLASS_NUMBER_LOSS = "sparsecategoricalcrossentropy"
# Losses of one-hot targets, as lower-case names without underscores.
ONE_HOT_LOSSES = ("categoricalcrossentropy", "categoricalfocalcrossentropy")


def check_model(model, argument="model"):
    """Raises unless `model` is a built Keras model with trainable variables.

    It must have been made in the scope of the strategy in which this is called.
    """
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
    check_model_scope(model)


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
    check_loss(trainer, episode.support_y, y_pred)
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
    y_pred = checked_prediction(trainer.model, support_x)
    check_loss(trainer, support_y, y_pred)
    check_prediction(support_y, y_pred)
    return support_x, support_y


def checked_set(support_x, support_y):
    """Returns a support set as tensors, float64 as float32.

    Lists of numbers are arrays; lists, tuples and dicts of arrays are several inputs.

    Raises:
        ValueError: if it is empty, not finite, not of numbers, or of two lengths.
    """
    support_x = _tensors("support_x", support_x)
    support_y = _tensors("support_y", support_y)
    lengths = {
        int(part.shape[0]) if part.shape.rank else 0
        for part in [*tf.nest.flatten(support_x), *tf.nest.flatten(support_y)]
    }
    if len(lengths) != 1 or 0 in lengths:
        is_list = isinstance(support_x, list) or isinstance(support_y, list)
        hint = " A list of arrays is several inputs: for one, pass np.stack(list)."
        raise ValueError(
            "`support_x` and `support_y` must hold the same number of examples, at "
            "least one. Received: shapes "
            f"{_shapes(support_x)} and {_shapes(support_y)}.{hint if is_list else ''}"
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
            f"inputs of shape {_shapes(x)}; the "
            f"model takes {getattr(model, 'input_shape', 'something else')}. "
            f"{_batch_hint(model, x)}Keras says: {_quoted(error)}"
        ) from error


def check_loss(learner, y, y_pred):
    """Raises unless the compiled loss can compare targets and predictions like these.

    Args:
        learner: compiled `EpisodicModel`.
        y: targets of one set, a tensor or a nest.
        y_pred: predictions.
    """
    loss = learner.loss_and_metrics()["loss"]
    if loss is None:
        return
    outputs, targets = tf.nest.flatten(y_pred), tf.nest.flatten(y)
    if len(outputs) != len(targets) and not (
        tf.nest.is_nested(y) and tf.nest.is_nested(y_pred)
    ):
        raise ValueError(
            "A model with several outputs needs targets of the same structure. "
            f"Received: outputs of shape {_shapes(y_pred)}, targets of shape "
            f"{_shapes(y)}. Pass a dict or tuple of targets, like the model's outputs "
            "(in fit and evaluate, a tf.data.Dataset of "
            "`keras_meta.tasks.Episode(x, (u, v), x, (u, v))`), or use a model with "
            "one output."
        )
    name = getattr(loss, "fn", loss)  # Keras' loss objects hold a function.
    name = name if isinstance(name, str) else getattr(name, "__name__", "")
    if len(outputs) > 1:
        return
    (y,), (y_pred,) = targets, outputs
    plain_name = name.replace("_", "").lower()
    if plain_name == CLASS_NUMBER_LOSS and y.dtype.is_floating:
        raise ValueError(
            f"The loss {name!r} takes class numbers. Received: targets of dtype "
            f"{y.dtype.name}. Pass integers, `y.astype('int32')`, or compile with a "
            "loss for regression, such as 'mse'."
        )
    if plain_name not in ONE_HOT_LOSSES:
        return
    if not y.dtype.is_floating and len(_squeezed(y)) < len(y_pred.shape):
        raise ValueError(
            f"The loss {name!r} takes one-hot targets. Received: class numbers, "
            f"{y.dtype.name} of shape {_shape(y)}. Compile with "
            "`keras.losses.SparseCategoricalCrossentropy(from_logits=True)` (or "
            "from_logits=False, if the model ends with a softmax)."
        )


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
            classes = (
                " Float targets are taken for regression: if these are class numbers, "
                'pass integers, `y.astype("int32")`.'
            )
            raise ValueError(
                "The targets must have the shape of the model's predictions. "
                f"Received: targets {_shape(y)}, predictions {_shape(y_pred)}. "
                "Change the model's last layer or the targets."
                f"{classes if len(targets) == len(predicted) - 1 else ''}"
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


def _tensors(name, nest):
    """Returns a nest of tensors; a list of numbers, however deep, is one tensor."""
    if isinstance(nest, (list, tuple)) and all(
        np.ndim(leaf) == 0 for leaf in tf.nest.flatten(nest)
    ):
        try:
            nest = np.asarray(nest)
        except ValueError as error:
            raise ValueError(
                f"`{name}` must hold rows of equal length. Received: a list of "
                f"{len(nest)} that makes no array. NumPy says: {error}"
            ) from error
    return tf.nest.map_structure(lambda value: _tensor(name, value), nest)


def _tensor(name, value):
    value = value if tf.is_tensor(value) else np.asarray(value)
    kind = np.dtype(getattr(value.dtype, "as_numpy_dtype", value.dtype)).kind
    if kind in "OSUMmc":  # objects, strings, times, complex numbers
        hint = f" For labels that are names use np.unique({name}, return_inverse=True)"
        raise ValueError(
            f"{'Labels' if name == 'support_y' else 'Inputs'} must be numbers. "
            f"Received: `{name}` of dtype {value.dtype}."
            f"{hint + '[1].' if name == 'support_y' else ''}"
        )
    tensor = tf.convert_to_tensor(value)
    return tf.cast(tensor, "float32") if tensor.dtype == tf.float64 else tensor


def _batch_hint(model, x):
    """Says what to do where the inputs have an axis too many."""
    wanted = getattr(model, "input_shape", None)
    is_one = isinstance(wanted, tuple) and not any(
        isinstance(part, (tuple, list)) for part in wanted
    )
    if is_one and not tf.nest.is_nested(x) and len(x.shape) == len(wanted) + 1:
        return (
            "There is an axis too many: a dataset's elements must be single episodes, "
            "do not batch it over tasks. "
        )
    return ""


def _quoted(error):
    """Returns what Keras says, in one line without pages of values."""
    text = re.sub(r"\[\[.*?\]\]+", "[...]", str(error), flags=re.DOTALL)
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def _squeezed(tensor):
    shape = _shape(tensor)
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def _shapes(nest):
    return reprlib.repr([_shape(part) for part in tf.nest.flatten(nest)])


def _shape(tensor):
    return tuple(np.array(tensor.shape).tolist())
