"""Training a small Keras model as a problem for a learned optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.ranges import checked_range
from keras_meta.tasks.task import check_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike


SCALE, NOISE, NOISY_LABELS, FIRST_WEIGHTS = range(4)  # streams of a task's seed
BATCH, FIRST_LAYER = 0, 1  # streams of a step's seed


class TrainingProblem(OptimizationProblem):
    """ "Train this Keras model on this data, from this initialisation."

    Each task starts from weights of its own: vectors and scalars (biases, batch
    normalisation) and constant matrices start as they are in the given model; every
    other variable is drawn normally, with the mean and deviation of the model's own
    initial values, whatever its initializer (orthogonal, uniform) was. The loss
    of a step is that of a mini-batch drawn with replacement, in training mode (batch
    normalisation uses the batch; dropout draws anew).

    Args:
        model: built `keras.Model`; it is only read.
        x: array, or nest of arrays, leading axis examples.
        y: array, leading axis examples.
        loss: Keras loss, or its name.
        batch_size: int >= 1, examples of a step.
        initial_scale: float > 0 or pair (low, high): each task's weights that are
            drawn are multiplied by a number drawn uniformly in the logarithm.
            Default 1.
        label_noise: float in [0, 1] or pair (low, high): the share of a task's
            labels that are replaced by those of other examples, drawn for each task.
            Default 0.

    Raises:
        TypeError, ValueError: for a model, data or settings that cannot work.

    Example:

    ```python
    import keras, keras_meta
    from sklearn.datasets import load_digits

    digits = load_digits()
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(20, "tanh"), keras.layers.Dense(10)]
    )
    problem = keras_meta.tasks.TrainingProblem(
        model,
        digits.data / 16.0,
        digits.target,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batch_size=64,
    )
    print(problem.parameter_shapes)  # [(64, 20), (20,), (20, 10), (10,)]
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: ArrayLike,
        loss: str | keras.losses.Loss | Callable[..., Any],
        batch_size: int = 128,
        initial_scale: float | Sequence[float] = 1.0,
        label_noise: float | Sequence[float] = 0.0,
    ) -> None:
        _check_model(model)
        self.model = model
        self.batch_size = check_count("batch_size", batch_size)
        self.initial_scale = checked_range(
            "initial_scale", initial_scale, positive=True
        )
        self.label_noise = checked_range("label_noise", label_noise)
        if not 0.0 <= self.label_noise[0] <= self.label_noise[1] <= 1.0:
            raise ValueError(
                "Argument `label_noise` must be in [0, 1]. "
                f"Received: label_noise={label_noise!r}."
            )
        self.num_examples = _check_data(x, y)
        with tf.init_scope():
            self.x = tf.nest.map_structure(_tensor, x)
            self.y = _tensor(y)
        self.loss_function = keras.losses.get(loss)
        if self.loss_function is None:
            raise ValueError(
                "Argument `loss` must be a Keras loss or its name. Received: loss=None."
            )
        self._start = [
            keras.ops.convert_to_numpy(v).astype("float32")
            for v in model.trainable_variables
        ]
        self._others = [
            keras.ops.convert_to_numpy(v) for v in model.non_trainable_variables
        ]
        self._check_loss()

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns `Problem((noise, seed), weights)`; noise is a float32 scalar."""
        low, high = np.log(self.initial_scale)
        scale = tf.exp(counter_random.uniform(seed, (), low, high, stream=SCALE))
        noise = counter_random.uniform(seed, (), *self.label_noise, stream=NOISE)
        parameters = []
        for index, start in enumerate(self._start):
            if start.ndim < 2 or start.std() == 0.0:
                parameters.append(tf.constant(start))
                continue
            drawn = counter_random.normal(
                seed,
                start.shape,
                mean=start.mean(),
                stddev=start.std(),
                stream=FIRST_WEIGHTS + index,
            )
            parameters.append(scale * drawn)
        return Problem((noise, tf.identity(seed)), parameters)

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the mean loss of the mini-batch of `seed`, and the model's own."""
        noise, task_seed = data
        rows = counter_random.integers(
            seed, (self.batch_size,), self.num_examples, stream=BATCH
        )
        x = tf.nest.map_structure(lambda part: tf.gather(part, rows), self.x)
        y = tf.gather(self.y, rows)
        if self.label_noise[1] > 0.0:
            y = tf.gather(self.y, self._labelled_as(task_seed, rows, noise))
        y_pred, _, own_losses = self.model.stateless_call(
            parameters, self._other_values(seed), x, training=True, return_losses=True
        )
        loss = tf.reduce_mean(tf.cast(self.loss_function(y, y_pred), "float32"))
        return loss + tf.cast(sum(own_losses), "float32") if own_losses else loss

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, and settings."""
        return super().describe() | {
            "model": self.model.name,
            "examples": self.num_examples,
            "batch_size": self.batch_size,
            "loss": getattr(self.loss_function, "name", str(self.loss_function)),
            "initial_scale": list(self.initial_scale),
            "label_noise": list(self.label_noise),
        }

    def _labelled_as(self, task_seed, rows, noise):
        """Returns the examples whose labels these have: in a task always the same."""
        draws = counter_random.bits(
            task_seed, (2, self.num_examples), stream=NOISY_LABELS
        )
        others = counter_random.integers_from_bits(draws[0], self.num_examples)
        share = counter_random.integers_from_bits(draws[1], 1 << 24)
        noisy = tf.cast(share, "float32") * np.float32(2.0**-24) < noise
        return tf.where(tf.gather(noisy, rows), tf.gather(others, rows), rows)

    def _other_values(self, seed):
        values = []
        for index, (variable, value) in enumerate(
            zip(self.model.non_trainable_variables, self._others, strict=True)
        ):
            if variable.name == "seed_generator_state":
                drawn = counter_random.bits(seed, (2,), stream=FIRST_LAYER + index)
                values.append(
                    tf.cast(
                        tf.bitwise.right_shift(drawn, np.uint64(32)), variable.dtype
                    )
                )
            else:
                values.append(tf.convert_to_tensor(value))
        return values

    def _check_loss(self):
        """Raises ValueError for labels or a loss that do not fit the model."""
        name = getattr(self.loss_function, "name", "") or getattr(
            self.loss_function, "__name__", ""
        )
        if name == "sparse_categorical_crossentropy":
            classes = self.model.output_shape[-1]
            if self.y.shape.rank == len(self.model.output_shape):
                width = self.y.shape[-1]
                if width == classes and width > 1:
                    raise ValueError(
                        "Argument `y` has one-hot rows, and the loss takes class "
                        f"numbers. Received: shape {tuple(self.y.shape)}. Pass "
                        "`y.argmax(axis=-1)`, or `CategoricalCrossentropy` as loss."
                    )
            low, high = int(tf.reduce_min(self.y)), int(tf.reduce_max(self.y))
            if low < 0 or high >= classes:
                raise ValueError(
                    f"Class labels must be in [0, {classes}), the model's outputs. "
                    f"Received: labels from {low} to {high}."
                )
        seed = tf.constant([0, 0], "int64")
        data, _ = self.sample(seed)
        with tf.init_scope():
            value = float(self.loss(data, [tf.constant(p) for p in self._start], seed))
        if not np.isfinite(value):
            raise ValueError(
                "The loss of a mini-batch must be finite where a run starts. Received: "
                f"{value}. Check the data's scale, and that labels and loss belong "
                "together."
            )


def _check_model(model):
    if not isinstance(model, keras.Model) or not model.built:
        raise TypeError(
            "Argument `model` must be a built `keras.Model`: call it on a batch, or "
            f"start it with `keras.Input`. Received: {type(model).__name__}."
        )
    if not model.trainable_variables:
        raise ValueError(
            "Argument `model` must have trainable variables: there is nothing to "
            f"optimise. Received: model={model.name!r} with none."
        )


def _check_data(x, y):
    """Returns the number of examples."""
    if isinstance(y, (list, tuple, dict)) and any(
        isinstance(part, (np.ndarray, tf.Tensor)) for part in tf.nest.flatten(y)
    ):
        raise ValueError(
            "Argument `y` must be one array: a problem has one output. Received: a "
            f"{type(y).__name__} of arrays. Make a problem of each output, or join "
            "them to one array and one loss."
        )
    if isinstance(x, list) and x and not hasattr(x[0], "shape"):
        raise ValueError(
            "Argument `x` must be an array, or a nest of arrays. Received: a list of "
            f"{type(x[0]).__name__}. Make it an array with `numpy.asarray(x)`."
        )
    y = np.asarray(y)
    if y.dtype.kind not in "fiub":
        raise ValueError(
            "Argument `y` must hold numbers. Received: an array of "
            f"{y.dtype}. Number the classes with "
            "`numpy.unique(y, return_inverse=True)[1]`."
        )
    parts = [np.asarray(part) for part in [*tf.nest.flatten(x), y]]
    counts = [len(part) if part.ndim else 0 for part in parts]
    if min(counts) < 1 or len(set(counts)) != 1:
        raise ValueError(
            "Arguments `x` and `y` must hold the same number of examples, at least "
            f"one. Received: shapes {[part.shape for part in parts]}."
        )
    for part in parts:
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise ValueError(
                "Arguments `x` and `y` must be finite. Received: "
                f"{np.count_nonzero(~np.isfinite(part))} values that are NaN or "
                f"infinite, in an array of shape {part.shape}."
            )
    return counts[0]


def _tensor(array):
    array = np.asarray(array)
    return tf.constant(array.astype("float32") if array.dtype.kind == "f" else array)
