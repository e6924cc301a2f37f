"""What the controller sees, against plain NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import tensor_statistics
from keras_meta.optimizers.tensor_statistics import DYNAMIC, STATIC


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    made = {
        name: random.normal(size=(2, 6)).astype("float32")
        for name in tensor_statistics.VECTORS
    }
    made["r"] = np.abs(made["r"])
    made["zero"] = np.zeros((2, 6), "float32")
    made["zero"][0, :2] = 1.0
    for value in made.values():
        value[1, 4:] = 0.0  # the second row has four entries
    return made


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_statistics_are_what_their_names_say(vectors):
    counts, count = np.array([6.0, 4.0], "float32"), 5.0
    turns = np.array([[0.1, -0.2], [0.05, 0.0]], "float32")
    path = np.array([0.0, 0.5], "float32")
    found, (fast, slow) = tensor_statistics.tensor_statistics(
        vectors, counts, (turns[0], turns[1]), path, ops.convert_to_tensor(count)
    )
    for row in range(2):
        v = {name: value[row].astype("float64") for name, value in vectors.items()}
        rms = {name: np.sqrt(np.sum(a**2) / counts[row]) for name, a in v.items()}
        scale = np.log10(rms["r"] / np.sqrt(1 - 0.999**5))
        turn = cosine(v["g"], v["d0"])
        expected_fast = 0.9 * turns[0, row] + 0.1 * turn
        expected_slow = 0.98 * turns[1, row] + 0.02 * turn
        moved, weight = np.log10(rms["moved"]), np.log10(rms["p"])
        expected = {
            "gradient size": np.log10(rms["g"]) - scale,
            "momentum size": np.log10(rms["m"] / (1 - 0.9**5)) - scale,
            "slow momentum size": np.log10(rms["s"] / (1 - 0.99**5)) - scale,
            "gradient along momentum": cosine(v["g"], v["m0"]),
            "momentum along slow momentum": cosine(v["m"], v["s"]),
            "weight size": weight + 1.0,
            "direction size": np.log10(rms["d"]) + 0.5,
            "scaled gradient size": np.log10(rms["u"]),
            "turn": 5.0 * expected_fast,
            "slow turn": 10.0 * expected_slow,
            "straightness": moved - np.log10(path[row]) if row else 0.0,
            "distance": moved - weight + 1.0 if row else 0.0,
            "zero gradients": (1.0 / 3.0, 0.0)[row],
        }
        for name, value in expected.items():
            got = float(found[row, DYNAMIC.index(name)])
            assert got == pytest.approx(np.clip(value, -3, 3), abs=1e-4), name
        assert float(fast[row]) == pytest.approx(expected_fast, abs=1e-5)
        assert float(slow[row]) == pytest.approx(expected_slow, abs=1e-5)


def test_ratios_do_not_depend_on_the_scale_of_the_loss(vectors):
    counts = np.array([6.0, 4.0], "float32")
    zeros, one = np.zeros(2, "float32"), ops.convert_to_tensor(1.0)
    scaled = dict(vectors)
    for name in ("g", "m0", "m", "s", "r"):
        scaled[name] = 100.0 * vectors[name]
    a, b = (
        tensor_statistics.tensor_statistics(v, counts, (zeros, zeros), zeros, one)[0]
        for v in (vectors, scaled)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_zeros_give_finite_statistics():
    vectors = {name: np.zeros((1, 3), "float32") for name in tensor_statistics.VECTORS}
    zero = np.zeros(1, "float32")
    found, turns = tensor_statistics.tensor_statistics(
        vectors, np.full(1, 3.0, "float32"), (zero, zero), zero, ops.ones(())
    )
    assert np.isfinite(found).all() and np.isfinite(turns).all()


def test_static_statistics_tell_kinds_of_tensors_apart():
    rows = tensor_statistics.static_statistics([(784, 100), (100,), (3, 3, 8, 16), ()])
    table = {name: rows[:, i] for i, name in enumerate(STATIC)}
    assert table["vector"].tolist() == [0, 1, 0, 1]
    assert table["matrix"].tolist() == [1, 0, 0, 0]
    assert table["filter"].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(table["size"][:2], np.log10([78400, 100]) / 2 - 1, 1e-6)
    np.testing.assert_allclose(
        table["fan-in"], [np.log10(784) / 1.5 - 1, 0, np.log10(72) / 1.5 - 1, 0], 1e-6
    )
    assert np.all(np.diff(table["place"]) > 0) and table["place"].sum() == 0
    weights = tensor_statistics.pooling_weights([(4, 4), (4,)])
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3], rtol=1e-6)
