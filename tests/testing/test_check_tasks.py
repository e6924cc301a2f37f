import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks import counter_random
from keras_meta.tasks.task import Episode, TaskDistribution
from keras_meta.testing.check_tasks import check_tasks


def split_in_half(x, y):
    return Episode(x[:2], y[:2], x[2:], y[2:])


class Good(TaskDistribution):
    def sample(self, seed):
        x = counter_random.uniform(seed, (4, 3))
        return split_in_half(x, x * 2.0)


class Stateless(TaskDistribution):
    def sample(self, seed):
        x = tf.random.stateless_normal((4, 1), counter_random.as_seed(seed))
        return split_in_half(x, x)


class ReturnsTuple(Good):
    def sample(self, seed):
        return tuple(super().sample(seed))


class UnknownShape(Good):
    def sample(self, seed):
        x = counter_random.uniform(seed, (4, 1))
        x = tf.boolean_mask(x, x[:, 0] > -1.0)
        return split_in_half(x, x)


class ScalarTarget(Good):
    def sample(self, seed):
        return super().sample(seed)._replace(query_y=tf.constant(1.0))


class WrongSpec(Good):
    @property
    def element_spec(self):
        return Episode(*[tf.TensorSpec((2, 3), tf.int32)] * 4)


class UnequalLengths(Good):
    def sample(self, seed):
        episode = super().sample(seed)
        return episode._replace(query_y=episode.query_y[:1])


class OtherFeatures(Good):
    def sample(self, seed):
        episode = super().sample(seed)
        return episode._replace(query_x=episode.query_x[:, :2])


class NotFinite(Good):
    def sample(self, seed):
        episode = super().sample(seed)
        return episode._replace(support_y=tf.math.log(episode.support_y - 9.0))


class NotPure(Good):
    def sample(self, seed):
        x = tf.random.uniform((4, 1))
        return split_in_half(x, x)


class IgnoresSeed(Good):
    def sample(self, seed):
        return super().sample(5)


class BranchesInPython(Good):
    def sample(self, seed):
        episode = super().sample(seed)
        if tf.reduce_sum(episode.support_x) > 100.0:
            return episode._replace(support_y=episode.support_x)
        return episode


class DrawsWhenTraced(Good):
    """Pure in eager execution, but a graph keeps the numbers of its trace."""

    def sample(self, seed):
        seed = counter_random.as_seed(seed)
        number = int(seed[1]) if tf.executing_eagerly() else 3
        return super().sample(number)


class CallsPython(Good):
    def sample(self, seed):
        episode = super().sample(seed)
        y = tf.numpy_function(np.sin, [episode.support_y], tf.float32)
        return episode._replace(support_y=tf.ensure_shape(y, (2, 3)))


class IntegerSeedDiffers(Good):
    def sample(self, seed):
        return super().sample(seed + 10 if isinstance(seed, int) else seed)


def test_a_good_distribution_passes_in_all_modes():
    assert check_tasks(Good()) == [
        "an int64 seed tensor",
        "tf.function",
        "tf.map_fn",
        "XLA",
        "tf.vectorized_map",
    ]


def test_stateless_draws_pass_without_xla_and_are_not_vectorized():
    assert check_tasks(Stateless(), jit_compile=False) == [
        "an int64 seed tensor",
        "tf.function",
        "tf.map_fn",
    ]


@pytest.mark.parametrize(
    "broken, text",
    [
        (ReturnsTuple, "`sample` must return an Episode; got tuple. End it with"),
        (UnknownShape, r"shapes must be fully known, .*`support_x` has shape \("),
        (ScalarTarget, r"leading axis of examples; `query_y` has shape \(\)"),
        (WrongSpec, r"shapes and dtypes of `element_spec`; expected int32 \(2, 3\)"),
        (UnequalLengths, r"`query_x` and `query_y` .*same number .*got \[2, 1\]"),
        (OtherFeatures, r"`query_x` must have the same shape and dtype; got float32"),
        (NotFinite, "must be finite; `support_y` has a NaN .* at seed 0. Clean"),
        (NotPure, r"the same seed must give the same episode; two calls of sample\(0"),
        (IgnoresSeed, r"different seeds must give different .*\[0, 1, 2\] all give"),
        (BranchesInPython, "tracing `sample` must work; it raised Operator.*no Python"),
        (DrawsWhenTraced, "tf.function must give the same episodes as eager"),
        (CallsPython, "XLA must work; it raised"),
        (Stateless, "XLA must give the same episodes .*or pass jit_compile=False"),
        (IntegerSeedDiffers, "an int64 seed tensor must give the same episodes"),
    ],
)
def test_a_broken_distribution_fails_its_check(broken, text):
    with pytest.raises(AssertionError, match=f"(?s)check_tasks: .*{text}"):
        check_tasks(broken())


def test_a_number_of_examples_that_depends_on_the_seed_fails():
    class Growing(Good):
        sizes = itertools.count(3)

        def sample(self, seed):
            x = counter_random.uniform(seed, (next(self.sizes), 1))
            return split_in_half(x, x)

    with pytest.raises(AssertionError, match="shapes and dtypes of `element_spec`"):
        check_tasks(Growing())


def test_something_else_than_a_distribution_fails():
    with pytest.raises(
        AssertionError, match="must be a TaskDistribution; got function"
    ):
        check_tasks(lambda seed: None)


def test_one_seed_is_too_few():
    with pytest.raises(
        ValueError, match=r"2 different seeds. Received: seeds=\[3, 3\]"
    ):
        check_tasks(Good(), seeds=(3, 3))
