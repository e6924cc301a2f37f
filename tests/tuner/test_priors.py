"""The three priors, the portfolio and the acquisition, against independent numbers."""

import keras_tuner
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_meta.tuner import deep_prior
from keras_meta.tuner.acquisition import expected_improvement, most_valuable
from keras_meta.tuner.affine_posterior import AffinePosterior
from keras_meta.tuner.deep_prior import DeepPrior, pretrained_weights
from keras_meta.tuner.past_tasks import PastTasks, normalised, offset_and_scale
from keras_meta.tuner.plain_prior import PlainPrior, standardised
from keras_meta.tuner.portfolio import greedy_portfolio
from keras_meta.tuner.search_space import SearchSpace
from keras_meta.tuner.suggestions import (
    MOST_SURFACES,
    Suggestions,
    description_distances,
)
from keras_meta.tuner.task_basis import TaskBasis


def space():
    hp = keras_tuner.HyperParameters()
    for name in ("a", "b", "idle"):
        hp.Float(name, 0.0, 1.0)
    return SearchSpace(hp.get_config()["space"])


def surface(x, centre):
    """A bowl whose lowest loss is at `centre`, in coordinates 0 and 1."""
    return 1.0 - ((x[:, :2] - centre) ** 2).sum(axis=1)


def tasks_at(centres, trials=40, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    tasks = []
    for centre in centres:
        x = generator.random((trials, 3))
        x[:, 2] = 0.5  # never varied
        tasks.append((x, scale * surface(x, centre)))
    return tasks


NEAR = [(0.3, 0.7), (0.35, 0.65), (0.25, 0.7), (0.3, 0.75), (0.35, 0.7)]


# ---- scores -------------------------------------------------------------------------


def test_scores_are_normalised_by_median_and_quantile():
    y = np.arange(101.0)
    assert offset_and_scale(y) == (50.0, 45.0)
    assert normalised(y)[-1] == pytest.approx(50.0 / 45.0)
    assert normalised(np.r_[y, -1e9]).min() == -2.0
    assert offset_and_scale(np.ones(5))[1] > 0.0


# ---- the plain prior ----------------------------------------------------------------


def test_scores_are_standardised_without_their_bad_tail():
    y = np.r_[np.tile([0.0, 2.0], 20), -1e10]
    values, level, deviation = standardised(y)
    # The median is 0 and the best 2: first -1e10 counts as -6; then as the number
    # that is 2.5 deviations below the mean, (40 - 6) / 41.
    first = np.r_[y[:-1], -6.0]
    second = np.r_[y[:-1], 34 / 41 - 2.5 * first.std()]
    np.testing.assert_allclose(level, second.mean())
    np.testing.assert_allclose(deviation, second.std())
    np.testing.assert_allclose(values, (second - second.mean()) / second.std())
    np.testing.assert_array_equal(standardised(np.full(3, 7.0))[0], np.zeros(3))


def test_the_plain_prior_is_a_gaussian_process_of_standardised_scores():
    generator = np.random.default_rng(0)
    x, new = generator.random((4, 2)), generator.random((6, 2))
    y = np.array([0.5, 0.9, 0.6, 0.7])
    prior = PlainPrior(2)
    prior.fit(x, y)
    # Too few scores to fit: length scales 0.6, variance 1, noise 0.001.
    r = np.sqrt(5.0) * np.linalg.norm(x[:, None] - np.r_[x, new][None], axis=-1) / 0.6
    kernel = (1.0 + r + r**2 / 3.0) * np.exp(-r)
    inverse = np.linalg.inv(kernel[:, :4] + (1e-3 + 1e-7) * np.eye(4))
    mean = kernel[:, 4:].T @ inverse @ ((y - y.mean()) / y.std())
    np.testing.assert_allclose(prior.expected(new), y.mean() + y.std() * mean)
    variance = 1.0 - np.einsum("ij,ik,kj->j", kernel[:, 4:], inverse, kernel[:, 4:])
    best = (0.9 - y.mean()) / y.std()
    expected = y.std() * expected_improvement(mean, variance, best)
    np.testing.assert_allclose(prior.improvement(new), expected, rtol=1e-6)


def test_the_plain_prior_does_not_depend_on_the_units_of_scores():
    generator = np.random.default_rng(1)
    x, new = generator.random((12, 2)), generator.random((6, 2))
    prior, scaled = PlainPrior(2), PlainPrior(2)
    y = surface(x, (0.3, 0.7))
    prior.fit(x, y)
    scaled.fit(x, 1e4 * y - 3.0)
    np.testing.assert_allclose(
        scaled.improvement(new), 1e4 * prior.improvement(new), rtol=1e-3
    )
    errors = prior.expected(new) - surface(new, (0.3, 0.7))
    assert np.abs(errors).mean() < 0.05


def test_a_run_that_diverged_does_not_blind_the_plain_prior():
    generator = np.random.default_rng(2)
    x, new = generator.random((12, 2)), generator.random((6, 2))
    y = surface(x, (0.3, 0.7))
    y[np.argmin(y)] = -1e10
    prior = PlainPrior(2)
    prior.fit(x, y)
    errors = prior.expected(new) - surface(new, (0.3, 0.7))
    assert np.abs(errors).mean() < 0.3
    assert np.argmax(prior.expected(x)) == np.argmax(y)


# ---- the deep prior -----------------------------------------------------------------


def weights_of(dimensions=3, seed=0):
    generator = np.random.default_rng(seed)
    return deep_prior._initial(generator, dimensions)


def test_deep_likelihood_is_a_normal_density_with_an_offset():
    weights = weights_of()
    prior = DeepPrior(weights)
    random = np.random.default_rng(1)
    x, y = random.random((2, 7, 3)), random.normal(size=(2, 7))
    mask = np.ones((2, 7))
    mask[1, 4:] = 0.0  # a task of four trials
    received = deep_prior._mean_nll(
        {name: tf.constant(w) for name, w in weights.items()},
        *(tf.constant(v, tf.float32) for v in (x, y, mask)),
    )
    expected = []
    for points, scores, count in zip(x, y, (7, 4), strict=True):
        points, scores = points[:count], scores[:count]
        mean, features = prior.outputs(points)
        covariance = prior.covariance(features, features)
        kernel = deep_prior.matern52(points, points, np.exp(weights["lengths"]))
        covariance += np.exp(weights["amplitude"]) * kernel
        covariance += (np.exp(weights["noise"]) + 1e-4) * np.eye(count) + 1.0 / 4.0
        density = scipy.stats.multivariate_normal(mean, covariance).logpdf(scores)
        # But for constants.
        nll = -density - 0.5 * count * np.log(2 * np.pi) + 0.5 * np.log(4.0)
        expected.append(nll / count)
    assert float(received) == pytest.approx(np.mean(expected), rel=1e-4)


def test_pretraining_learns_what_the_tasks_share():
    tasks = tasks_at(NEAR)
    weights = pretrained_weights(tasks, np.array([False, False, True]), steps=300)
    prior = DeepPrior(weights)
    x = np.random.default_rng(5).random((200, 3))
    mean, _ = prior.outputs(x)
    assert np.corrcoef(mean, surface(x, (0.3, 0.7)))[0, 1] > 0.95


def test_nothing_is_learned_on_what_never_varied():
    weights = pretrained_weights(
        tasks_at(NEAR), np.array([False, False, True]), steps=50
    )
    prior = DeepPrior(weights)
    x = np.random.default_rng(5).random((20, 3))
    moved = x.copy()
    moved[:, 2] = 0.9
    np.testing.assert_array_equal(prior.outputs(x)[0], prior.outputs(moved)[0])


def test_pretraining_repeats_with_its_seed():
    first, second, other = (
        pretrained_weights(tasks_at(NEAR), np.zeros(3, bool), seed, steps=50)
        for seed in (0, 0, 1)
    )
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name])
    assert not np.array_equal(first["kernel_1"], other["kernel_1"])


# ---- the basis of past surfaces -----------------------------------------------------


def test_basis_is_the_past_surfaces_mean_and_spread():
    past = PastTasks(tasks_at(NEAR))
    basis = TaskBasis(past)
    x = np.random.default_rng(2).random((6, 3))
    means = np.stack([s.mean(x) for s in past.surfaces])
    mean, features = basis.outputs(x)
    np.testing.assert_allclose(mean, means.mean(axis=0))
    expected = basis.spread * np.cov(means.T, bias=True)
    np.testing.assert_allclose(basis.covariance(features, features), expected)


def test_the_basis_finds_the_task_that_the_new_one_is_like():
    centres = [(0.1, 0.1), (0.9, 0.9), (0.1, 0.9), (0.9, 0.1)]
    past = PastTasks(tasks_at(centres))
    basis = TaskBasis(past)
    basis.spread = 1.0
    x = np.random.default_rng(3).random((12, 3))
    mean, features = basis.outputs(x)
    covariance = basis.covariance(features, features)
    posterior = AffinePosterior(
        mean, covariance, 1e-2, surface(x, (0.9, 0.9)), past.scale
    )
    weights = basis.task_weights(features, posterior)
    assert np.argmax(weights) == 1


def test_descriptions_that_help_are_used():
    """Two groups of tasks; the descriptions tell them apart."""
    centres = [(0.2, 0.2)] * 4 + [(0.8, 0.8)] * 4
    past = PastTasks(tasks_at(centres, seed=4))
    descriptions = [{"size": float(i >= 4)} for i in range(8)]
    distances = description_distances(descriptions, {"size": 1.0})
    basis = TaskBasis(past, distances)
    assert np.isfinite(basis.width)
    assert basis.nearness[4:].sum() > 0.9
    assert basis.nearness.sum() == pytest.approx(1.0)


def test_descriptions_that_do_not_help_are_not():
    past = PastTasks(tasks_at([(0.3, 0.7)] * 6, seed=4))
    random = np.random.default_rng(0)
    descriptions = [{"size": float(v)} for v in random.normal(size=6)]
    distances = description_distances(descriptions, {"size": 0.0})
    basis = TaskBasis(past, distances)
    assert basis.nearness.max() < 0.5


def test_a_description_that_lacks_features_is_compared_by_its_others():
    descriptions = [{"a": 0.0, "b": 0.0}, {"a": 1.0}, {"other": 3.0}, {"a": 2.0}]
    found = description_distances(descriptions, {"a": 0.0, "b": 1.0})
    spread = np.std([0.0, 1.0, 2.0, 0.0]), np.std([0.0, 1.0])
    expected = [(1.0 / spread[1]) ** 2 / 2, (1.0 / spread[0]) ** 2]
    np.testing.assert_allclose(found[-1][:2], expected)
    assert np.isfinite(found).all()


def test_distances_of_descriptions():
    descriptions = [{"p": 0.0, "q": 1.0}, {"p": 2.0, "q": 1.0}, None, {"p": 4.0}]
    distances = description_distances(descriptions, {"p": 0.0, "r": 5.0})
    spread = np.std([0.0, 2.0, 4.0, 0.0])
    assert distances.shape == (5, 4)
    assert distances[4, 1] == pytest.approx((2.0 / spread) ** 2)
    assert distances[0, 3] == pytest.approx((4.0 / spread) ** 2)
    assert np.isfinite(distances).all()
    assert description_distances(descriptions, None) is None
    assert description_distances([None, {"p": 1.0}], {"p": 1.0}) is None
    assert description_distances(descriptions, {"other": 1.0}) is None


# ---- portfolio and acquisition ------------------------------------------------------


def test_portfolio_begins_with_what_is_good_everywhere():
    past = PastTasks(tasks_at(NEAR))
    points = greedy_portfolio(past, space(), np.random.default_rng(0), size=5)
    assert len(points) == 5
    assert np.linalg.norm(points[0][:2] - (0.3, 0.7)) < 0.15
    assert len(np.unique(points, axis=0)) == 5


def test_portfolio_covers_groups():
    """No point is good on both groups: the first two are one for each."""
    past = PastTasks(tasks_at([(0.1, 0.1)] * 3 + [(0.9, 0.9)] * 3))
    points = greedy_portfolio(past, space(), np.random.default_rng(0), size=3)
    near = [
        min(np.linalg.norm(p[:2] - centre) for p in points)
        for centre in ((0.1, 0.1), (0.9, 0.9))
    ]
    assert max(near) < 0.3


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.0, 0.5), (-2.0, 4.0)])
def test_expected_improvement_is_an_expectation(mean, variance):
    draws = np.random.default_rng(0).normal(mean, np.sqrt(variance), 400_000)
    expected = np.maximum(draws - 0.3, 0.0).mean()
    received = expected_improvement(np.array([mean]), np.array([variance]), 0.3)
    assert received[0] == pytest.approx(expected, rel=0.03)


def test_the_most_valuable_point_is_near_the_top_and_new():
    one = space()
    generator = np.random.default_rng(0)
    best = np.array([0.123, 0.456, 0.789])

    def value(x):
        return -((x - best) ** 2).sum(axis=1)

    point = most_valuable(value, one, generator, np.zeros((0, 3)), set())
    np.testing.assert_allclose(point, best, atol=0.06)
    again = most_valuable(value, one, generator, point[None], {one.key(point)})
    assert one.key(again) != one.key(point)


def test_nothing_new_is_none():
    hp = keras_tuner.HyperParameters()
    hp.Boolean("only")
    one = SearchSpace(hp.get_config()["space"])
    seen = {one.key(one.point({"only": value})) for value in (True, False)}
    found = most_valuable(
        lambda x: x[:, 0], one, np.random.default_rng(0), np.zeros((0, 1)), seen
    )
    assert found is None


# ---- suggestions --------------------------------------------------------------------


class Cache:
    """A pool's small store, in memory."""

    def __init__(self):
        self.kept, self.hits = {}, 0

    def cached(self, key):
        self.hits += key in self.kept
        return self.kept.get(key)

    def keep(self, key, blob):
        assert isinstance(blob, bytes)
        self.kept[key] = blob


def test_a_pretrained_prior_is_kept_and_found_again(short_pretraining):
    cache, tasks = Cache(), tasks_at(NEAR)
    known = np.array([[0.5, 0.5, 0.5], [0.2, 0.6, 0.5]])
    scores, nothing = surface(known, (0.3, 0.7)), np.zeros((0, 3))
    points = [
        Suggestions(space(), tasks, cache).next_point(known, scores, nothing, 2)
        for _ in range(2)
    ]
    assert (len(cache.kept), cache.hits) == (1, 1)
    np.testing.assert_array_equal(*points)
    Suggestions(space(), tasks[:-1], cache)
    assert len(cache.kept) == 2


def test_a_past_that_misleads_loses_its_weight():
    """The past says (0.3, 0.7); the new task's best is far off."""
    one, centre = space(), (0.9, 0.1)
    suggestions = Suggestions(one, tasks_at(NEAR))
    x, y = np.zeros((0, 3)), np.zeros(0)
    for number in range(20):
        point = suggestions.next_point(x, y, np.zeros((0, 3)), number)
        x, y = np.r_[x, point[None]], np.r_[y, surface(point[None], centre)]
    assert y.max() > 0.97


def test_of_many_tasks_the_nearest_are_used(short_pretraining):
    generator = np.random.default_rng(0)
    centres = generator.random((MOST_SURFACES + 6, 2))
    tasks = tasks_at(centres, trials=4)
    descriptions = [{"x": float(centre[0])} for centre in centres]
    distances = description_distances(descriptions, {"x": 0.0})
    suggestions = Suggestions(space(), tasks, Cache(), distances)
    assert len(suggestions.chosen) == MOST_SURFACES
    left_out = set(range(len(tasks))) - set(suggestions.chosen)
    assert centres[sorted(left_out), 0].min() >= np.sort(centres[:, 0])[MOST_SURFACES]
