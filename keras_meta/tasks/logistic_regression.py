"""Random logistic regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.optimization_problem import OptimizationProblem, Problem
from keras_meta.tasks.task import check_count

if TYPE_CHECKING:
    from collections.abc import Sequence


class LogisticRegression(OptimizationProblem):
    """Mean logistic loss of a linear classifier on random, noisily labelled points.

    Inputs are standard normal; labels are Bernoulli with the logit of a random linear
    function; weights and bias start at zero. The loss is convex, and has a squared
    penalty of the weights, so that its least value is reached.

    Args:
        features: int >= 1. Default 10.
        examples: int >= 1. Default 100.
        batch_size: int >= 1 or None, examples that a step sees, drawn with
            replacement; None for all. Default None.
        penalty: float >= 0, times the sum of the squared weights. Default 1e-3.
    """

    def __init__(
        self,
        features: int = 10,
        examples: int = 100,
        batch_size: int | None = None,
        penalty: float = 1e-3,
    ) -> None:
        self.features = check_count("features", features)
        self.examples = check_count("examples", examples)
        self.batch_size = None
        if batch_size is not None:
            self.batch_size = check_count("batch_size", batch_size)
        if not 0.0 <= penalty < float("inf"):
            raise ValueError(
                "Argument `penalty` must be finite and >= 0. "
                f"Received: penalty={penalty!r}."
            )
        self.penalty = float(penalty)

    def sample(self, seed: int | tf.Tensor) -> Problem:
        """Returns `Problem((x, y), [w, bias])`.

        x float32 `(examples, features)`, y float32 0 or 1 `(examples,)`, w
        `(features,)`, bias `()`.
        """
        x = counter_random.normal(seed, (self.examples, self.features), stream=0)
        truth = counter_random.normal(seed, (self.features + 1,), stream=1)
        logits = tf.linalg.matvec(x, truth[1:]) + truth[0]
        draws = counter_random.uniform(seed, (self.examples,), stream=2)
        y = tf.cast(draws < tf.sigmoid(logits), "float32")
        return Problem((x, y), [tf.zeros(self.features), tf.zeros(())])

    def loss(
        self, data: Any, parameters: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the mean loss of the batch of `seed`, and the penalty."""
        x, y = data
        if self.batch_size is not None:
            rows = counter_random.integers(seed, (self.batch_size,), self.examples)
            x, y = tf.gather(x, rows), tf.gather(y, rows)
        weights, bias = parameters
        logits = tf.linalg.matvec(x, weights) + bias
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
        penalty = self.penalty * tf.reduce_sum(tf.square(weights))
        return tf.reduce_mean(losses) + penalty

    def describe(self) -> dict[str, Any]:
        """Returns JSON-able facts: the base class's, and `arguments`."""
        return super().describe() | {
            "arguments": {
                "features": self.features,
                "examples": self.examples,
                "batch_size": self.batch_size,
                "penalty": self.penalty,
            }
        }
