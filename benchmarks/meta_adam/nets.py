"""Networks as pure functions, whose weights may carry an axis of runs.

Keras' own layers become grouped convolutions when many runs with weights of their own
are mapped at once, which is many times slower on a CPU; here a convolution is slices
and one product of matrices.
"""

import math

import jax
import jax.numpy as jnp

ACTIVATIONS = (jax.nn.relu, jnp.tanh, jax.nn.gelu, jax.nn.elu)


class Layer:
    """Specs of weights, `(shape, kind)`, and `apply(weights, x, setting)`."""

    def __init__(self, specs, apply):
        self.specs, self.apply = list(specs), apply


def chain(*layers):
    """Returns layers one after another."""

    def apply(weights, x, setting):
        start = 0
        for layer in layers:
            end = start + len(layer.specs)
            x = layer.apply(weights[start:end], x, setting)
            start = end
        return x

    return Layer([spec for layer in layers for spec in layer.specs], apply)


def residual(layer):
    """Returns `x + layer(x)`."""
    return Layer(layer.specs, lambda w, x, s: x + layer.apply(w, x, s))


def function(f):
    """Returns a layer without weights."""
    return Layer([], lambda w, x, s: f(x))


def activation():
    """Returns the setting's activation."""
    return Layer([], lambda w, x, s: jax.lax.switch(s["activation"], ACTIVATIONS, x))


def dense(inputs, outputs, bias=True):
    specs = [((inputs, outputs), "kernel")] + [((outputs,), "zeros")] * bias
    return Layer(specs, lambda w, x, s: x @ w[0] + (w[1] if bias else 0.0))


def mlp(widths, norm=None):
    """Returns dense layers with activations between them."""
    layers = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        layers.append(dense(inputs, outputs))
        if i < len(widths) - 2:
            layers += ([norm(outputs)] if norm else []) + [activation()]
    return chain(*layers)


def layer_norm(width):
    return _norm(width, (-1,))


def batch_norm(width):
    """Returns batch normalisation in training mode; channels come last."""
    return _norm(width, None)


def _norm(width, axes):
    def apply(w, x, setting):
        over = tuple(range(x.ndim - 1)) if axes is None else axes
        mean = x.mean(over, keepdims=True)
        variance = ((x - mean) ** 2).mean(over, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-3) * w[0] + w[1]

    return Layer([((width,), "ones"), ((width,), "zeros")], apply)


def conv(inputs, outputs, size=3, stride=1, rank=2, bias=True):
    """Returns a convolution, padding "same"; x is `(n, *space, channels)`."""

    def apply(w, x, setting):
        pad = [(0, 0)] + [((size - 1) // 2, size // 2)] * rank + [(0, 0)]
        padded, space = jnp.pad(x, pad), x.shape[1:-1]
        columns = []
        for offset in range(size**rank):
            cut = [slice(None)]
            for axis in range(rank):
                first = offset // size**axis % size
                cut.append(slice(first, first + space[axis], stride))
            columns.append(padded[tuple(cut)])
        columns = jnp.concatenate(columns, -1)
        y = columns @ w[0].reshape(-1, outputs)
        return y + w[1] if bias else y

    shape = (size,) * rank + (inputs, outputs)
    return Layer([(shape, "kernel")] + [((outputs,), "zeros")] * bias, apply)


def flatten():
    return function(lambda x: x.reshape(len(x), -1))


def average(axes):
    return function(lambda x: x.mean(axes))


def embedding(words, width):
    return Layer([((words, width), "embedding")], lambda w, x, s: w[0][x])


def positions(length, width):
    return Layer([((length, width), "embedding")], lambda w, x, s: x + w[0])


def attention(width, heads, causal=True):
    """Returns a block: normalised attention and a normalised dense part."""
    inner = chain(
        layer_norm(width),
        dense(width, 2 * width),
        function(jax.nn.gelu),
        dense(2 * width, width),
    )
    norm = layer_norm(width)

    def apply(w, x, setting):
        count, length = x.shape[:2]
        split = (count, length, heads, width // heads)
        z = norm.apply(w[:2], x, setting)
        q, k, v = (
            (z @ w[i] + w[i + 1]).reshape(split).transpose(0, 2, 1, 3)
            for i in (2, 4, 6)
        )
        score = q @ k.transpose(0, 1, 3, 2) / math.sqrt(width // heads)
        if causal:
            score = jnp.where(jnp.tril(jnp.ones((length, length))) > 0, score, -1e9)
        mixed = (jax.nn.softmax(score) @ v).transpose(0, 2, 1, 3)
        x = x + mixed.reshape(count, length, width) @ w[8] + w[9]
        return x + inner.apply(w[10:], x, setting)

    projection = [((width, width), "kernel"), ((width,), "zeros")]
    return Layer([*norm.specs, *projection * 4, *inner.specs], apply)


def gru(inputs, units):
    """Returns a GRU over axis 1, all outputs."""

    def apply(w, x, setting):
        def step(h, z):
            a = h @ w[1]
            update, reset = jnp.split(
                jax.nn.sigmoid(z[:, : 2 * units] + a[:, : 2 * units]), 2, -1
            )
            new = jnp.tanh(z[:, 2 * units :] + reset * a[:, 2 * units :])
            h = update * h + (1.0 - update) * new
            return h, h

        z = (x @ w[0] + w[2]).transpose(1, 0, 2)
        first = jnp.zeros((len(x), units))
        return jax.lax.scan(step, first, z, unroll=4)[1].transpose(1, 0, 2)

    return Layer(_recurrent(inputs, units, 3), apply)


def lstm(inputs, units):
    """Returns an LSTM over axis 1, all outputs; its forget gates start open."""

    def apply(w, x, setting):
        def step(state, z):
            h, c = state
            i, f, o, u = jnp.split(z + h @ w[1], 4, -1)
            c = jax.nn.sigmoid(f + 1.0) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        z = (x @ w[0] + w[2]).transpose(1, 0, 2)
        first = jnp.zeros((len(x), units))
        return jax.lax.scan(step, (first, first), z, unroll=4)[1].transpose(1, 0, 2)

    return Layer(_recurrent(inputs, units, 4), apply)


def _recurrent(inputs, units, gates):
    return [
        ((inputs, gates * units), "kernel"),
        ((units, gates * units), "recurrent"),
        ((gates * units,), "zeros"),
    ]


def initial(specs, key, gain=1.0):
    """Returns first weights: Glorot's uniform ones, times `gain`, as in Keras."""
    weights = []
    for index, (shape, kind) in enumerate(specs):
        own = jax.random.fold_in(key, index)
        if kind in ("zeros", "ones"):
            weights.append(jnp.full(shape, float(kind == "ones")))
        elif kind == "normal":
            weights.append(gain * jax.random.normal(own, shape))
        elif kind == "embedding":
            weights.append(jax.random.uniform(own, shape, minval=-0.05, maxval=0.05))
        elif kind == "recurrent":
            weights.append(jax.random.normal(own, shape) / math.sqrt(shape[0]))
        else:
            field = math.prod(shape[:-2])
            fans = field * (shape[-2] + shape[-1])
            limit = math.sqrt(6.0 / fans)
            drawn = jax.random.uniform(own, shape, minval=-limit, maxval=limit)
            weights.append(gain * drawn)
    return weights
