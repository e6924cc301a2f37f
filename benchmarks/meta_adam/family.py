"""A family of training runs: one network, one set of data, settings drawn anew."""

import jax
import jax.numpy as jnp
import nets
import numpy as np


class Family:
    """Runs of one network on one set of data, with settings of their own.

    Args:
        name: str.
        net: `nets.Layer`.
        data: dict of arrays.
        batch: `batch(data, key, setting)`, a mini-batch.
        loss: `loss(outputs, mini-batch, setting)`, float32 scalar.
        inputs: `inputs(mini-batch)`, what the network is called on.
        pairs: int, antithetic pairs that run at once.
        share: float, how often this family's turn comes.
        activation: int, index into `nets.ACTIVATIONS`. Default: drawn for each run.
    """

    def __init__(
        self,
        name,
        net,
        data,
        batch,
        loss,
        inputs,
        pairs=12,
        share=1.0,
        activation=None,
    ):
        self.name, self.net, self.data = name, net, data
        self.batch, self._loss, self._inputs = batch, loss, inputs
        self.pairs, self.share, self.activation = pairs, share, activation

    @property
    def shapes(self):
        return [shape for shape, _ in self.net.specs]

    def loss(self, weights, batch, setting):
        outputs = self.net.apply(weights, self._inputs(batch), setting)
        return self._loss(outputs, batch, setting)

    def setting(self, key):
        """Returns a run's activation, share of wrong labels and scale of inputs."""
        keys = jax.random.split(key, 5)

        def sometimes(key, chance, value, otherwise):
            return jnp.where(jax.random.uniform(key) < chance, value, otherwise)

        scale = jnp.exp(jax.random.uniform(keys[3], minval=-1.0, maxval=1.0))
        activation = self.activation
        if activation is None:
            activation = jax.random.choice(
                keys[0], jnp.arange(4), p=jnp.array([0.5, 0.2, 0.2, 0.1])
            )
        return {
            "activation": activation,
            "noise": sometimes(keys[1], 0.3, 0.4 * jax.random.uniform(keys[2]), 0.0),
            "scale": sometimes(keys[4], 0.3, scale, 1.0),
        }

    def usual_setting(self, activation=0):
        """Returns ReLU, clean labels, inputs as they are."""
        return {"activation": jnp.int32(activation), "noise": 0.0, "scale": 1.0}


def cross_entropy(logits, labels):
    picked = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - picked)


def classification(name, net, x, y, size, **settings):
    """Returns a family of classifiers of rows of `x`."""
    x, y = jnp.asarray(x, "float32"), jnp.asarray(y, "int32")
    classes = int(y.max()) + 1

    def batch(data, key, setting):
        rows, which, other = jax.random.split(key, 3)
        rows = jax.random.randint(rows, (size,), 0, len(x))
        noisy = jax.random.uniform(which, (size,)) < setting["noise"]
        wrong = jax.random.randint(other, (size,), 0, classes)
        labels = jnp.where(noisy, wrong, data["y"][rows])
        return data["x"][rows] * setting["scale"], labels

    return Family(
        name,
        net,
        {"x": x, "y": y},
        batch,
        lambda outputs, batch, s: cross_entropy(outputs, batch[1]),
        lambda batch: batch[0],
        **settings,
    )


def regression(name, net, x, y, size, **settings):
    """Returns a family of squared errors; `y=None` reproduces `x` (autoencoders)."""
    data = {"x": jnp.asarray(x, "float32")}
    if y is not None:
        data["y"] = jnp.asarray(y, "float32")

    def batch(data, key, setting):
        rows, noise = jax.random.split(key)
        rows = jax.random.randint(rows, (size,), 0, len(x))
        inputs = data["x"][rows] * setting["scale"]
        if y is None:
            return inputs, inputs
        targets = data["y"][rows]
        noise = jax.random.normal(noise, targets.shape)
        return inputs, targets + setting["noise"] * noise

    return Family(
        name,
        net,
        data,
        batch,
        lambda outputs, batch, s: jnp.mean((outputs - batch[1]) ** 2),
        lambda batch: batch[0],
        **settings,
    )


def language(name, net, text, length, size, **settings):
    """Returns a family of models of the next symbol of `text`."""
    text = jnp.asarray(text, "int32")

    def batch(data, key, setting):
        starts = jax.random.randint(key, (size, 1), 0, len(text) - length - 1)
        return data["text"][starts + jnp.arange(length + 1)]

    return Family(
        name,
        net,
        {"text": text},
        batch,
        lambda outputs, batch, s: cross_entropy(outputs, batch[:, 1:]),
        lambda batch: batch[:, :-1],
        **settings,
    )


def tokens(name, net, x, y, size, **settings):
    """Returns a family of classifiers of rows of symbols."""
    family = classification(name, net, x, y, size, **settings)
    family.data["x"] = family.data["x"].astype("int32")
    own = family.batch

    def batch(data, key, setting):
        return own(data, key, {**setting, "scale": 1})

    family.batch = batch
    return family


class Quadratics(Family):
    """Noisy quadratics of any condition, in four tensors, rotated or not."""

    SHAPES = ((8, 8), (8,), (16, 8), (4, 4))

    def __init__(self, pairs=12, share=1.0):
        specs = [(shape, "normal") for shape in self.SHAPES]
        self.size = sum(int(np.prod(shape)) for shape in self.SHAPES)
        draws = np.random.default_rng(0).normal(size=(self.size, self.size))
        rotation = jnp.asarray(np.linalg.qr(draws)[0], "float32")
        super().__init__(
            "quadratics",
            nets.Layer(specs, None),
            {"rotation": rotation},
            self._batch,
            None,
            None,
            pairs,
            share,
        )

    def setting(self, key):
        keys = jax.random.split(key, 7)
        condition = jax.random.uniform(keys[0], maxval=4.0)
        return {
            "curvature": 10.0
            ** (-condition * jax.random.uniform(keys[1], (self.size,))),
            "optimum": jax.random.normal(keys[2], (self.size,))
            * jnp.exp(jax.random.normal(keys[3]) - 1.0),
            "noise": jnp.exp(jax.random.uniform(keys[4], minval=-4.0, maxval=1.0)),
            "rotated": jax.random.bernoulli(keys[5]),
        }

    def _batch(self, data, key, setting):
        return jax.random.normal(key, (self.size,)) * setting["noise"], data["rotation"]

    def loss(self, weights, batch, setting):
        noise, rotation = batch
        z = jnp.concatenate([w.ravel() for w in weights]) - setting["optimum"]
        z = jnp.where(setting["rotated"], rotation @ z, z)
        noise = jnp.sqrt(setting["curvature"]) * noise
        still = jnp.sum((z - jax.lax.stop_gradient(z)) * noise)
        return 0.5 * jnp.sum(setting["curvature"] * z * z) + still + 1e-3
