"""Expected numbers: the papers' formulas in NumPy float64, example by example."""

import numpy as np
import pytest
from scipy.special import log_softmax

from keras_meta.learners.comparison import matching_logits, prototypical_logits

LABELS = np.array([0, 1, 2, 0, 2, 2])
WAYS = 3


@pytest.fixture
def embeddings():
    generator = np.random.default_rng(0)
    return generator.normal(size=(4, 5)), generator.normal(size=(6, 5))


def call(rule, query, support, scale):
    arrays = (query, support, np.eye(WAYS)[LABELS])
    return np.array(rule(*[a.astype("float32") for a in arrays], scale))


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_matching_is_attention_by_cosine(embeddings, scale):
    query, support = embeddings
    expected = np.zeros((4, WAYS))
    for i, q in enumerate(query):
        cosines = [q @ s / np.linalg.norm(q) / np.linalg.norm(s) for s in support]
        weights = np.exp(scale * np.array(cosines))
        weights /= weights.sum()
        for weight, label in zip(weights, LABELS, strict=True):
            expected[i, label] += weight
    received = call(matching_logits, query, support, scale)
    np.testing.assert_allclose(np.exp(received), expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_prototypical_is_distance_to_the_class_means(embeddings, scale):
    query, support = embeddings
    expected = np.zeros((4, WAYS))
    for i, q in enumerate(query):
        for way in range(WAYS):
            mean = support[way == LABELS].mean(axis=0)
            expected[i, way] = -scale * np.sum((q - mean) ** 2)
    received = call(prototypical_logits, query, support, scale)
    np.testing.assert_allclose(received, expected, rtol=1e-4)


def test_with_one_shot_matching_is_a_softmax_of_cosines(embeddings):
    query, support = embeddings
    support = support[:3]
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in embeddings]
    received = matching_logits(
        query.astype("float32"), support.astype("float32"), np.eye(3, dtype="f4"), 10.0
    )
    expected = log_softmax(10.0 * unit[0] @ unit[1][:3].T, axis=1)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)
