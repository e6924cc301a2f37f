"""The arithmetic of Adam on flat blocks, a factor for each tensor.

Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, as in `keras.optimizers.Adam`.
"""

from keras import ops

from keras_meta.optimizers import tensor_statistics

BETAS = {
    "m": tensor_statistics.BETA,
    "s": tensor_statistics.SLOW_BETA,
    "v": tensor_statistics.SQUARE_BETA,
}
EPSILON = 1e-7


def averages(gradients, old, taken=None):
    """Returns the lists of new momenta and velocities.

    Args:
        gradients: list of flat tensors.
        old: pair of lists of flat tensors, momenta and velocities.
        taken: bool scalar, or None: where False, the old ones are returned.
    """
    means, squares = [], []
    shares = [1.0 - BETAS[name] for name in ("m", "v")]
    if taken is not None:
        shares = [share * ops.cast(taken, "float32") for share in shares]
    for g, mean, square in zip(gradients, *old, strict=True):
        mean, square = ops.cast(mean, g.dtype), ops.cast(square, g.dtype)
        of_mean, of_square = (ops.cast(share, g.dtype) for share in shares)
        means.append(mean + of_mean * (g - mean))
        squares.append(square + of_square * (ops.square(g) - square))
    return means, squares


def moves(blocks, gradients, means, squares, factors, count, shares=None):
    """Returns each tensor's step, which is to be subtracted.

    Args:
        blocks: `TensorBlocks`.
        gradients, means, squares: lists of flat blocks; averages after this step.
        factors: float32 `(tensors,)`, the learning rates.
        count: float32 scalar, 1 at the first step.
        shares: float32 `(tensors,)`, which part of a direction is the gradient
            instead of the momentum; or None for Adam.
    """
    first = 1.0 - ops.power(BETAS["m"], count)
    # Adam's corrections of both averages.
    factors = factors * ops.sqrt(1.0 - ops.power(BETAS["v"], count)) / first
    roots = [ops.sqrt(square) + EPSILON for square in squares]
    directions = [mean / root for mean, root in zip(means, roots, strict=True)]
    if shares is None:
        return blocks.scaled(directions, factors)
    of_gradients = [g / root for g, root in zip(gradients, roots, strict=True)]
    return [
        a + b
        for a, b in zip(
            blocks.scaled(directions, factors * (1.0 - shares)),
            blocks.scaled(of_gradients, factors * shares * first),
            strict=True,
        )
    ]


def kept_slots(blocks, state, new_state, present):
    """Returns the new state, but the old of weights and tensors without a gradient.

    Args:
        blocks: `TensorBlocks` of the parameters.
        state, new_state: dicts, before and after a step.
        present: list of bool tensors, whether a weight had a gradient.
    """
    masks = blocks.join(present)
    kept = dict(new_state)
    for i, mask in enumerate(masks):
        for name in (f"momentum_{i}", f"velocity_{i}"):
            kept[name] = ops.where(mask, new_state[name], state[name])
    mask = blocks.take([ops.cast(mask, "float32") for mask in masks]) > 0.5
    for name in ("slow_momentum", "start"):
        kept[name] = ops.where(mask, new_state[name], state[name])
    # The first entry of each sample stands for its tensor.
    for name in ("path", "rates", "turns"):
        kept[name] = ops.where(mask[:, 0], new_state[name], state[name])
    return kept
