"""The demo end to end, small, and its baselines against a plain Keras loop."""

import json

import keras
import numpy as np
import pytest

from keras_meta import cli, presets
from keras_meta.demo import baselines, digits, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick_trials):
    folder = tmp_path_factory.mktemp("demo")
    assert cli.main(["demo", "--quick", "--output", str(folder)]) == 0
    return folder


def test_demo_writes_its_table_plots_logs_and_preset(folder):
    names = {path.name for path in folder.iterdir()}
    assert {
        "digits_5way.kmeta",
        "results.json",
        "table.md",
        "adaptation_curves.png",
        "learned_rates.png",
        "tensorboard",
    } <= names
    assert list((folder / "tensorboard").rglob("events.out.tfevents*"))
    for name in ("adaptation_curves.png", "learned_rates.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_demo_records_every_method_with_intervals(folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert len(results["rows"]) == 5
    for row in results["rows"].values():
        for entry in row.values():
            assert len(entry["mean"]) == len(entry["ci95"]) == run.NUM_STEPS + 1
            assert all(0.0 <= mean <= 1.0 for mean in entry["mean"])
    assert (folder / "table.md").read_text(encoding="utf-8").strip() == results["table"]


def test_demo_preset_card_says_what_it_was_trained_on(folder):
    card = presets.load(folder / "digits_5way.kmeta").card
    assert card["trained_on"]["meta_batch_size"] == run.META_BATCH_SIZE
    assert card["evaluation"]["episodes"] == run.QUICK.test_episodes


def test_test_digits_are_never_trained_on():
    assert not set(digits.TEST_DIGITS) & set(digits.TRAINING_DIGITS)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_baseline_is_a_plain_keras_loop(name):
    """Expected: `fit` on each episode by itself."""
    episodes = run.test_episodes(shots=1, num_episodes=2)
    weights = baselines.starting_weights("from scratch", None, num_episodes=2)
    received = baselines.Baseline(name, episodes, 2).accuracy(weights, 0.03)
    for index in range(2):
        x, y = episodes.support_x[index], episodes.support_y[index]
        model = digits.network()
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value[index])
        model.compile(
            baselines.OPTIMIZERS[name](0.03),
            digits.cross_entropy(),
            metrics=["accuracy"],
        )
        for step in range(3):
            query = episodes.query_x[index], episodes.query_y[index]
            expected = model.evaluate(*query, verbose=0)[1]
            np.testing.assert_allclose(received[index, step], expected, atol=1e-6)
            model.fit(x, y, batch_size=len(x), verbose=0)


def test_pretrained_start_shares_features_and_has_a_head_of_zeros():
    model = digits.network(outputs=4 * len(digits.TRAINING_DIGITS))
    weights = baselines.starting_weights("pretrained", model, num_episodes=3)
    kernel = keras.ops.convert_to_numpy(model.trainable_variables[0])
    for episode in range(3):
        np.testing.assert_array_equal(weights[0][episode], kernel)
    assert not weights[-2].any() and weights[-2].shape == (3, 4 * 32, 5)


def test_from_scratch_every_episode_and_layer_is_drawn_by_itself():
    weights = baselines.starting_weights("from scratch", None, num_episodes=2)
    first = weights[0][0].ravel()
    assert abs(np.corrcoef(first, weights[0][1].ravel())[0, 1]) < 0.3
    assert abs(np.corrcoef(first, weights[2][0].ravel()[: len(first)])[0, 1]) < 0.3


def test_best_of_grid_chooses_for_each_step():
    rates = baselines.LEARNING_RATES["SGD"]
    accuracies = {rate: np.zeros((2, 3)) for rate in rates}
    accuracies[rates[1]][:, 1] = 0.5
    accuracies[rates[2]][:, 2] = 0.7
    columns, best = baselines.best_of_grid("SGD", accuracies)
    np.testing.assert_array_equal(columns[:, 1:], [[0.5, 0.7], [0.5, 0.7]])
    assert best[1:] == [rates[1], rates[2]]


def test_missing_package_is_one_line_that_says_what_to_install(monkeypatch, capsys):
    found = run.importlib.util.find_spec
    monkeypatch.setattr(
        run.importlib.util,
        "find_spec",
        lambda name: None if name == "sklearn" else found(name),
    )
    assert cli.main(["demo", "--quick"]) == 2
    assert "pip install 'keras_meta[demo]'" in capsys.readouterr().err
