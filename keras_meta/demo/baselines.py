"""The optimizers to beat: Keras' Adam and SGD on the same tasks."""

import keras
import numpy as np
import tensorflow as tf

from keras_meta.demo import digits

# Half a decade apart. With a zero head, the first step of either optimizer ranks the
# classes alike at every small rate, so the best may lie at the lower edge: it is a
# limit, and lower rates give the same.
LEARNING_RATES = {
    "Adam": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "SGD": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0),
}
OPTIMIZERS = {"Adam": keras.optimizers.Adam, "SGD": keras.optimizers.SGD}
STARTS = ("from scratch", "pretrained")


def pretrained(epochs):
    """Returns a network trained by plain Keras to tell the training digits apart.

    Args:
        epochs: int >= 1.
    """
    x, y = digits.classification(digits.TRAINING_DIGITS)
    model = digits.network(outputs=4 * len(digits.TRAINING_DIGITS))
    model.compile("adam", digits.cross_entropy(), metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def starting_weights(start, pretrained_model, num_episodes):
    """Returns where each episode's network starts.

    From scratch, each episode has its own random network (biases zero, kernels
    Glorot-uniform, as in Keras); pretrained, the layers below a new head of zeros,
    which on digits of the training set did much better than a random head.

    Args:
        start: one of `STARTS`.
        pretrained_model: what `pretrained` returned.
        num_episodes: int.

    Returns:
        List of float32 arrays `(num_episodes, *shape)`, one for each variable.
    """
    variables = digits.network().trainable_variables
    weights = []
    for index, variable in enumerate(variables):
        if start == "pretrained" and index < len(variables) - 2:
            value = keras.ops.convert_to_numpy(
                pretrained_model.trainable_variables[index]
            )
            weights.append(np.repeat(value[None], num_episodes, axis=0))
        elif start == "pretrained" or len(variable.shape) == 1:
            weights.append(np.zeros((num_episodes, *variable.shape), "float32"))
        else:
            glorot = keras.initializers.GlorotUniform
            draws = [
                glorot(seed=len(variables) * episode + index)(variable.shape)
                for episode in range(num_episodes)
            ]
            weights.append(np.stack([keras.ops.convert_to_numpy(d) for d in draws]))
    return weights


class Baseline:
    """Trains one network for each episode with a Keras optimizer, in one graph.

    Args:
        name: "Adam" or "SGD".
        episodes: `Episode`, each tensor with leading axis `(num_episodes,)`.
        num_steps: int >= 1, steps on the whole support set.
    """

    def __init__(self, name, episodes, num_steps):
        self.model = digits.network()
        self.optimizer = OPTIMIZERS[name]()
        self.optimizer.build(self.model.trainable_variables)
        self.episodes = episodes
        self.num_steps = num_steps
        self._fresh = [keras.ops.copy(v) for v in self.optimizer.variables]
        self._loss = digits.cross_entropy()
        self._run = tf.function(self._all_episodes, autograph=False)

    def accuracy(self, weights, learning_rate):
        """Returns each episode's query accuracy before and after every step.

        Args:
            weights: list of arrays `(num_episodes, *shape)`, see `starting_weights`.
            learning_rate: float > 0.

        Returns:
            float32 array `(num_episodes, num_steps + 1)` in [0, 1].
        """
        rate = tf.constant(learning_rate, tf.float32)
        return self._run([tf.convert_to_tensor(w) for w in weights], rate).numpy()

    def _all_episodes(self, weights, learning_rate):
        num_episodes = weights[0].shape[0]
        rows = tf.TensorArray(
            tf.float32, num_episodes, element_shape=(self.num_steps + 1,)
        )

        def body(index, rows):
            row = self._one_episode(
                [weight[index] for weight in weights],
                tf.nest.map_structure(lambda part: part[index], self.episodes),
                learning_rate,
            )
            return index + 1, rows.write(index, row)

        _, rows = tf.while_loop(
            lambda index, _: index < num_episodes,
            body,
            (tf.constant(0), rows),
            parallel_iterations=1,
        )
        return rows.stack()

    def _one_episode(self, weights, episode, learning_rate):
        variables = self.model.trainable_variables
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        self.optimizer.learning_rate.assign(learning_rate)
        history = [self._query_accuracy(episode)]
        for _ in range(self.num_steps):
            with tf.GradientTape() as tape:
                logits = self.model(episode.support_x, training=True)
                loss = self._loss(episode.support_y, logits)
            gradients = tape.gradient(loss, [v.value for v in variables])
            self.optimizer.apply(gradients, variables)
            history.append(self._query_accuracy(episode))
        return tf.stack(history)

    def _query_accuracy(self, episode):
        logits = self.model(episode.query_x, training=False)
        guess = tf.argmax(logits, axis=-1, output_type=episode.query_y.dtype)
        return tf.reduce_mean(tf.cast(guess == episode.query_y, tf.float32))


def best_of_grid(name, accuracies):
    """Chooses the learning rate for each number of steps, on these very tasks.

    Args:
        name: "Adam" or "SGD".
        accuracies: dict from learning rate to `(num_episodes, num_steps + 1)`.

    Returns:
        Tuple `(columns, rates)`: float array `(num_episodes, num_steps + 1)` with
        each column of its best rate, and the list of these rates.
    """
    rates = list(LEARNING_RATES[name])
    stacked = np.stack([accuracies[rate] for rate in rates])
    best = stacked.mean(axis=1).argmax(axis=0)
    columns = np.stack([stacked[b, :, step] for step, b in enumerate(best)], axis=1)
    return columns, [rates[b] for b in best]
