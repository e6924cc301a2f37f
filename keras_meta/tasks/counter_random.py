"""Random draws as pure functions of a seed, equal in every execution mode.

`tf.random.stateless_*` has no `tf.vectorized_map` converter and gives other
numbers under XLA than without. These draws are made of uint64 multiplications,
shifts and exclusive ors only, which do the same everywhere. The generator is
SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014): output i of a stream is `mix64(state + (i + 1) * GOLDEN)`, so all
numbers of a draw are computed at once. Not for cryptography.

Example:

```python
from keras_meta.tasks import counter_random

noise = counter_random.normal(7, (3,), stream=0)
order = counter_random.choose(7, population=10, k=10, stream=1)
```
"""

import numbers

import numpy as np
import tensorflow as tf

GOLDEN = 0x9E3779B97F4A7C15
# Odd constants that spread the two halves of a seed and the stream number over
# the state: the fractional parts of the square roots of 2, 3 and 5.
FIRST_HALF = 0x6A09E667F3BCC909
SECOND_HALF = 0xBB67AE8584CAA73B
STREAM = 0x3C6EF372FE94F82B
MODULUS = 1 << 64


def as_seed(seed):
    """Returns the seed as an int64 tensor `(2,)`.

    Args:
        seed: Python or NumPy integer in [0, 2**63), which becomes `[0, seed]`, or
            an int64 tensor or array `(2,)`, returned as it is.

    Returns:
        int64 tensor `(2,)`.

    Raises:
        TypeError: if the seed is a bool, a float, or a tensor that is not int64.
        ValueError: if it is negative or too large, or the tensor not `(2,)`.
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        if not 0 <= seed < 1 << 63:
            raise ValueError(
                "Argument `seed` must be in [0, 2**63) where it is an integer. "
                f"Received: seed={seed}."
            )
        return tf.constant([0, int(seed)], tf.int64)
    if not (tf.is_tensor(seed) or isinstance(seed, np.ndarray)):
        raise TypeError(
            "Argument `seed` must be an integer >= 0 or an int64 tensor of shape "
            f"(2,). Received: seed={seed!r} of type {type(seed).__name__}."
        )
    if tf.as_dtype(seed.dtype) != tf.int64:
        raise TypeError(
            "Argument `seed` must be int64 where it is a tensor; cast it with "
            f"tf.cast(seed, tf.int64). Received: dtype={tf.as_dtype(seed.dtype).name}."
        )
    if tuple(seed.shape) != (2,):
        raise ValueError(
            "Argument `seed` must have shape (2,) where it is a tensor; for many "
            "seeds at once map over them with tf.vectorized_map or tf.map_fn. "
            f"Received: shape={tuple(seed.shape)}."
        )
    return tf.convert_to_tensor(seed)


def splitmix64(state, shape):
    """Returns the first outputs of SplitMix64 started from `state`.

    Args:
        state: uint64 scalar tensor.
        shape: tuple of ints.

    Returns:
        uint64 tensor of `shape`, uniform over all 2**64 values, in row-major order.
    """
    count = int(np.prod(shape))
    counters = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return _mix64(state + tf.constant(counters.reshape(shape)))


def bits(seed, shape, stream=0):
    """Returns uint64 draws.

    Args:
        seed: int >= 0 or int64 tensor `(2,)`, see `as_seed`.
        shape: tuple of ints.
        stream: Python int >= 0. One seed gives an independent draw a stream.

    Returns:
        uint64 tensor of `shape`, uniform over all 2**64 values.
    """
    seed = tf.cast(as_seed(seed), tf.uint64)  # (2,)
    spread = np.array([FIRST_HALF, SECOND_HALF], np.uint64)
    first, second = tf.unstack(seed * spread)
    # The two halves and the stream differ in the state before the mixing, not
    # after it, so that consecutive seeds have unrelated streams.
    offset = np.uint64((stream + 1) * STREAM % MODULUS)
    return splitmix64(_mix64(first + second + offset), shape)


def uniform(seed, shape, low=0.0, high=1.0, stream=0):
    """Returns float32 draws from the uniform distribution.

    Args:
        seed: int >= 0 or int64 tensor `(2,)`, see `as_seed`.
        shape: tuple of ints.
        low: float or array that broadcasts to `shape`, the lower end, included.
        high: float or array that broadcasts to `shape`, the upper end, excluded
            up to float32 rounding.
        stream: Python int >= 0. One seed gives an independent draw a stream.

    Returns:
        float32 tensor of `shape`, a multiple of 2**-24 before scaling.
    """
    scale = (np.asarray(high, np.float64) - np.asarray(low, np.float64)) * 2.0**-24
    return _upper_bits(bits(seed, shape, stream), 24, tf.float32) * np.asarray(
        scale, np.float32
    ) + np.asarray(low, np.float32)


def normal(seed, shape, mean=0.0, stddev=1.0, stream=0):
    """Returns float32 draws from the normal distribution, by inversion.

    Args:
        seed: int >= 0 or int64 tensor `(2,)`, see `as_seed`.
        shape: tuple of ints.
        mean: float or array that broadcasts to `shape`.
        stddev: float or array that broadcasts to `shape`, >= 0.
        stream: Python int >= 0. One seed gives an independent draw a stream.

    Returns:
        float32 tensor of `shape`, within 5.3 standard deviations of the mean.
    """
    # Odd multiples of 2**-23 minus 1: exact in float32, symmetric, never -1 or 1,
    # where erfinv is infinite.
    draws = _upper_bits(bits(seed, shape, stream), 23, tf.float32)
    centred = draws * np.float32(2.0**-22) + np.float32(2.0**-23 - 1.0)
    scale = np.sqrt(2.0) * np.asarray(stddev, np.float64)
    return tf.math.erfinv(centred) * np.asarray(scale, np.float32) + np.asarray(
        mean, np.float32
    )


def integers(seed, shape, maximum, stream=0):
    """Returns integers drawn uniformly from [0, maximum).

    Args:
        seed: int >= 0 or int64 tensor `(2,)`, see `as_seed`.
        shape: tuple of ints.
        maximum: int or int64 tensor that broadcasts to `shape`, in [1, 2**32].
        stream: Python int >= 0. One seed gives an independent draw a stream.

    Returns:
        int64 tensor of `shape`. No value is more likely than another by more than
        2**-32.

    Raises:
        ValueError: if `maximum` is an int out of range.
    """
    if isinstance(maximum, numbers.Integral) and not 1 <= maximum <= 1 << 32:
        raise ValueError(
            f"Argument `maximum` must be in [1, 2**32]. Received: maximum={maximum}."
        )
    return integers_from_bits(bits(seed, shape, stream), maximum)


def integers_from_bits(draws, maximum):
    """Returns `floor(maximum * u)`, where u in [0, 1) is a draw's upper 32 bits.

    Args:
        draws: uint64 tensor, from `bits`.
        maximum: int or int64 tensor that broadcasts to it, in [1, 2**32].

    Returns:
        int64 tensor, uniform over [0, maximum).
    """
    if not tf.is_tensor(maximum):
        maximum = np.asarray(maximum, np.int64)
    product = _shift(draws, 32) * tf.cast(maximum, tf.uint64)
    return tf.cast(_shift(product, 32), tf.int64)


def choose(seed, population, k, stream=0):
    """Returns k distinct integers from [0, population), in random order.

    Args:
        seed: int >= 0 or int64 tensor `(2,)`, see `as_seed`.
        population: Python int >= 1.
        k: Python int in [0, population].
        stream: Python int >= 0. One seed gives an independent draw a stream.

    Returns:
        int64 tensor `(k,)`.

    Raises:
        ValueError: if k is above the population.
    """
    if not 0 <= k <= population:
        raise ValueError(
            "Argument `k` must be in [0, population]. "
            f"Received: k={k}, population={population}."
        )
    return choose_from_bits(bits(seed, (population,), stream), k)


def choose_from_bits(draws, k, sizes=None):
    """Returns the positions of the k largest keys of each row.

    Args:
        draws: uint64 tensor `(..., population)`, from `bits`.
        k: Python int in [0, population].
        sizes: int64 tensor `(...)` or None. Where given, only the first `sizes`
            positions of a row take part; positions after these are chosen last.

    Returns:
        int64 tensor `(..., k)`, distinct within a row, in random order.
    """
    keys = _upper_bits(draws, 31, tf.int32)  # (..., population)
    if sizes is not None:
        positions = np.arange(draws.shape[-1], dtype=np.int64)
        keys = tf.where(positions < sizes[..., tf.newaxis], keys, np.int32(-1))
    return tf.cast(tf.math.top_k(keys, k).indices, tf.int64)


def _mix64(z):
    """The output function of SplitMix64 (Stafford's variant 13), on uint64."""
    z = (z ^ _shift(z, 30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * np.uint64(0x94D049BB133111EB)
    return z ^ _shift(z, 31)


def _shift(z, count):
    return tf.bitwise.right_shift(z, np.uint64(count))


def _upper_bits(draws, count, dtype):
    return tf.cast(_shift(draws, 64 - count), dtype)
