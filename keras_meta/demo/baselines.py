"""The optimizers to beat: Adam and SGD, on every test task at once."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Start(NamedTuple):
    """Where a baseline starts: one network for each episode.

    Attributes:
        name: str, "from scratch" or "pretrained".
        weights: list of float32 arrays `(num_episodes, *shape)`, one for each
            trainable variable of the network.
    """

    name: str
    weights: list


class AllEpisodes:
    """Trains one network for each episode, all of them in one graph.

    The networks' weights are stacked to variables `(num_episodes, *shape)`, and a
    plain `keras.optimizers` optimizer updates these. Adam and SGD treat every
    number by itself, so each network gets what it would get alone.

    Args:
        model: built `keras.Model` of dense layers, the architecture; its weights
            are not used.
        optimizer: `keras.optimizers.Adam` or `SGD`, not built.
        episodes: `Episode`, each tensor with leading axis `(num_episodes,)`.
        num_steps: int >= 1, steps on the whole support set.

    Example:

    ```python
    runs = AllEpisodes(model, keras.optimizers.Adam(), episodes, num_steps=5)
    accuracy = runs.accuracy(start.weights, learning_rate=0.01)  # (200, 6)
    ```
    """

    def __init__(self, model, optimizer, episodes, num_steps):
        self.model = model
        self.optimizer = optimizer
        self.episodes = episodes
        self.num_steps = num_steps
        num_episodes = episodes.support_x.shape[0]
        self._weights = [
            keras.Variable(tf.zeros((num_episodes, *v.shape)), name=v.name)
            for v in model.trainable_variables
        ]
        optimizer.build(self._weights)
        self._first_state = [keras.ops.copy(v) for v in optimizer.variables]
        self._run = tf.function(self._trained, autograph=False)

    def accuracy(self, weights, learning_rate):
        """Computes each episode's accuracy on its query set.

        Args:
            weights: list of float32 arrays `(num_episodes, *shape)` to start from.
            learning_rate: float > 0.

        Returns:
            float32 array `(num_episodes, num_steps + 1)`, before and after each
            step, in [0, 1].
        """
        for variable, value in zip(self._weights, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(
            self.optimizer.variables, self._first_state, strict=True
        ):
            variable.assign(value)
        self.optimizer.learning_rate = learning_rate
        return self._run().numpy()

    def _trained(self):
        history = [self._query_accuracy()]
        for _ in range(self.num_steps):
            with tf.GradientTape() as tape:
                values = [tf.convert_to_tensor(v.value) for v in self._weights]
                losses = tf.vectorized_map(
                    self._support_loss,
                    (values, self.episodes.support_x, self.episodes.support_y),
                    fallback_to_while_loop=False,
                )
                # The networks share nothing: the sum's gradient is each one's own.
                loss = tf.reduce_sum(losses)
            gradients = tape.gradient(loss, [v.value for v in self._weights])
            self.optimizer.apply(gradients, self._weights)
            history.append(self._query_accuracy())
        return tf.stack(history, axis=1)

    def _query_accuracy(self):
        values = [tf.convert_to_tensor(v.value) for v in self._weights]
        return tf.vectorized_map(
            self._accuracy,
            (values, self.episodes.query_x, self.episodes.query_y),
            fallback_to_while_loop=False,
        )

    def _support_loss(self, task):
        values, x, y = task
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            y, self._logits(values, x)
        )
        return tf.reduce_mean(losses)

    def _accuracy(self, task):
        values, x, y = task
        predicted = tf.argmax(self._logits(values, x), axis=-1, output_type=y.dtype)
        return tf.reduce_mean(tf.cast(predicted == y, tf.float32))

    def _logits(self, values, x):
        logits, _ = self.model.stateless_call(values, [], x)
        return logits
