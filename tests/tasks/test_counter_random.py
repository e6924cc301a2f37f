import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_meta.tasks import counter_random

MASK = (1 << 64) - 1
# The reference outputs of SplitMix64 for the state 1234567, as published with
# Vigna's C code and in Rosetta Code.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
SEEDS = np.array([[0, 0], [0, 1], [5, 0], [2**62, 2**63 - 1]], np.int64)


def mix_in_python(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def bits_in_python(seed, count, stream):
    first, second = seed
    state = first * counter_random.FIRST_HALF + second * counter_random.SECOND_HALF
    state = mix_in_python(state + (stream + 1) * counter_random.STREAM & MASK)
    return [
        mix_in_python(state + (i + 1) * counter_random.GOLDEN & MASK)
        for i in range(count)
    ]


def run_in_five_modes(draw):
    seeds = tf.constant(SEEDS)

    def stack(function):
        return np.stack([function(seed) for seed in seeds])

    @tf.function
    def vectorized(seeds):
        return tf.vectorized_map(draw, seeds, fallback_to_while_loop=False)

    @tf.function
    def mapped(seeds):
        signature = tf.TensorSpec(None, draw(seeds[0]).dtype)
        return tf.map_fn(draw, seeds, fn_output_signature=signature)

    return {
        "eager": stack(draw),
        "function": stack(tf.function(draw)),
        "vectorized_map": vectorized(seeds).numpy(),
        "map_fn": mapped(seeds).numpy(),
        "xla": stack(tf.function(draw, jit_compile=True)),
        "xla of vectorized_map": tf.function(vectorized, jit_compile=True)(
            seeds
        ).numpy(),
    }


def test_splitmix64_gives_the_published_numbers():
    state = tf.constant(1234567, tf.uint64)
    assert counter_random.splitmix64(state, (5,)).numpy().tolist() == PUBLISHED


def test_splitmix64_fills_a_shape_row_by_row():
    state = tf.constant(1234567, tf.uint64)
    outputs = counter_random.splitmix64(state, (2, 2)).numpy()
    assert outputs.tolist() == [PUBLISHED[:2], PUBLISHED[2:4]]


@pytest.mark.parametrize("stream", [0, 3])
def test_bits_equal_python_integers(stream):
    for seed in SEEDS.tolist():
        drawn = counter_random.bits(np.array(seed), (6,), stream).numpy().tolist()
        assert drawn == bits_in_python(seed, 6, stream)


def test_an_integer_seed_is_the_second_half():
    np.testing.assert_array_equal(counter_random.as_seed(7), [0, 7])
    assert counter_random.as_seed(7).dtype == tf.int64
    np.testing.assert_array_equal(
        counter_random.bits(7, (4,)), counter_random.bits(np.array([0, 7]), (4,))
    )


@pytest.mark.parametrize(
    "seed, error, text",
    [
        (-1, ValueError, r"must be in \[0, 2\*\*63\).*Received: seed=-1\."),
        (1 << 63, ValueError, r"must be in \[0, 2\*\*63\)"),
        (True, TypeError, "must be an integer >= 0 .*seed=True of type bool"),
        (1.0, TypeError, "must be an integer >= 0 .*seed=1.0 of type float"),
        (None, TypeError, "must be an integer >= 0 .*of type NoneType"),
        (np.zeros(2, np.int32), TypeError, "cast it .*Received: dtype=int32"),
        (np.zeros(3, np.int64), ValueError, r"Received: shape=\(3,\)"),
        (np.zeros((4, 2), np.int64), ValueError, "map over them with tf.vectorized"),
    ],
)
def test_a_wrong_seed_is_refused(seed, error, text):
    with pytest.raises(error, match=text):
        counter_random.as_seed(seed)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: counter_random.bits(seed, (7,)),
        lambda seed: counter_random.integers(seed, (2, 3), 1000),
        lambda seed: counter_random.integers(seed, (2,), tf.constant([3, 5], tf.int64)),
        lambda seed: counter_random.choose(seed, 12, 5),
    ],
    ids=["bits", "integers", "integers below a tensor", "choose"],
)
def test_integer_draws_are_equal_in_all_modes(draw):
    results = run_in_five_modes(draw)
    for mode, result in results.items():
        np.testing.assert_array_equal(result, results["eager"], err_msg=mode)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: counter_random.uniform(seed, (7,), -1.0, 1.0),
        lambda seed: counter_random.normal(seed, (7,)),
    ],
    ids=["uniform", "normal"],
)
def test_float_draws_are_equal_in_all_modes(draw):
    results = run_in_five_modes(draw)
    for mode, result in results.items():
        np.testing.assert_allclose(
            result, results["eager"], rtol=1e-6, atol=1e-6, err_msg=mode
        )


def test_uniform_is_the_upper_24_bits():
    u = np.array([bits >> 40 for bits in bits_in_python([0, 4], 5, 2)]) / 2**24
    drawn = counter_random.uniform(4, (5,), [-1, 0, 1, 2, 3], 4.0, stream=2)
    assert drawn.dtype == tf.float32
    low = np.arange(-1, 4)
    np.testing.assert_allclose(drawn, low + (4 - low) * u, rtol=1e-6)


def test_normal_is_the_inverse_of_the_normal_distribution_function():
    u = np.array([(bits >> 41) + 0.5 for bits in bits_in_python([0, 4], 50, 0)]) / 2**23
    expected = stats.norm.ppf(u, 2.0, 3.0)
    drawn = counter_random.normal(4, (50,), 2.0, 3.0)
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-4)


def test_normal_is_finite_and_symmetric_at_the_ends(monkeypatch):
    ends = tf.constant([0, MASK], tf.uint64)
    monkeypatch.setattr(counter_random, "bits", lambda *_: ends)
    low, high = counter_random.normal(0, (2,)).numpy()
    assert low == -high
    np.testing.assert_allclose(high, stats.norm.isf(2.0**-24), rtol=1e-3)


def test_uniform_and_normal_have_their_distributions():
    u = counter_random.uniform(0, (20000,), 2.0, 5.0).numpy()
    assert u.min() >= 2.0 and u.max() <= 5.0
    assert stats.kstest(u, stats.uniform(2.0, 3.0).cdf).pvalue > 0.01
    z = counter_random.normal(0, (20000,)).numpy()
    assert stats.kstest(z, stats.norm.cdf).pvalue > 0.01


def test_integers_are_uniform_below_their_maximum():
    drawn = counter_random.integers(1, (14000,), 7).numpy()
    counts = np.bincount(drawn, minlength=7)
    assert counts.shape == (7,)
    assert stats.chisquare(counts).pvalue > 0.01
    whole = counter_random.integers(1, (4,), 2**32).numpy()
    assert whole.tolist() == [b >> 32 for b in bits_in_python([0, 1], 4, 0)]


@pytest.mark.parametrize("maximum", [0, 2**32 + 1])
def test_a_maximum_out_of_range_is_refused(maximum):
    with pytest.raises(ValueError, match=rf"in \[1, 2\*\*32\].*maximum={maximum}\."):
        counter_random.integers(0, (1,), maximum)


def test_seeds_and_streams_are_independent():
    seeds = tf.stack([tf.zeros(5000, tf.int64), tf.range(5000, dtype=tf.int64)], 1)
    # (seeds, 2 streams): the first number of consecutive seeds, and of two streams.
    pairs = tf.vectorized_map(
        lambda seed: tf.concat(
            [counter_random.integers(seed, (1,), 8, stream) for stream in (0, 1)], 0
        ),
        seeds,
        fallback_to_while_loop=False,
    ).numpy()
    for left, right in (pairs.T, (pairs[:-1, 0], pairs[1:, 0])):
        table = np.zeros((8, 8))
        np.add.at(table, (left, right), 1)
        assert stats.chisquare(table.ravel()).pvalue > 0.01


def test_choose_gives_distinct_numbers_and_each_order_equally_often():
    seeds = tf.stack([tf.zeros(6000, tf.int64), tf.range(6000, dtype=tf.int64)], 1)
    chosen = tf.vectorized_map(
        lambda seed: counter_random.choose(seed, 4, 2),
        seeds,
        fallback_to_while_loop=False,
    ).numpy()
    assert chosen.dtype == np.int64
    orders, counts = np.unique(chosen, axis=0, return_counts=True)
    assert len(orders) == 12  # 4 * 3 ordered pairs without repetition
    assert stats.chisquare(counts).pvalue > 0.01


def test_choose_with_sizes_takes_positions_within_them_first():
    draws = counter_random.bits(0, (50, 6))
    sizes = tf.constant([2] * 25 + [6] * 25, tf.int64)
    chosen = counter_random.choose_from_bits(draws, 3, sizes).numpy()
    assert set(chosen[:25, :2].ravel()) == {0, 1}
    assert set(chosen[25:].ravel()) == set(range(6))
    assert all(len(set(row)) == 3 for row in chosen.tolist())


def test_choosing_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="Received: k=4, population=3"):
        counter_random.choose(0, 3, 4)
