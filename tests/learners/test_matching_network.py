import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

import keras_meta

KINDS = [
    {"metric": "cosine"},
    {"metric": "euclidean"},
    {"metric": "cosine", "full_context": 2},
    {"metric": "euclidean", "batch_statistics": "task"},
]


def identity_encoder():
    """w * x of numbers: what a step does can be derived by hand."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    model.set_weights([np.array([[1.0, 0.2], [-0.3, 0.8]])])
    return model


def query_loss(w, episode):
    """Prototypical cross-entropy of one-shot support examples, NumPy float64."""
    support, support_y, query, query_y = episode
    support, query = (support @ w)[np.argsort(support_y)], query @ w
    distances = ((query[:, None] - support[None]) ** 2).sum(axis=-1)
    return -log_softmax(-distances, axis=1)[np.arange(len(query)), query_y].mean()


@pytest.mark.parametrize("task_reduction", ["mean", tf.reduce_max])
def test_a_step_follows_the_gradient_of_finite_differences(
    make_learner, task_reduction
):
    generator = np.random.default_rng(0)
    episodes = [
        (
            generator.normal(size=(3, 2)),
            np.array([1, 0, 2], "int32"),
            generator.normal(size=(4, 2)),
            np.array([0, 1, 2, 1], "int32"),
        )
        for _ in range(2)
    ]
    dataset = tf.data.Dataset.from_tensor_slices(
        tuple(np.stack(part) for part in zip(*episodes, strict=True))
    ).map(lambda a, b, c, d: (tf.cast(a, "float32"), b, tf.cast(c, "float32"), d))
    learner = make_learner(
        identity_encoder(),
        keras.optimizers.SGD(1.0),
        metric="euclidean",
        task_reduction=task_reduction,
    )
    start = learner.encoder.get_weights()[0].astype("float64")
    history = learner.fit(dataset, meta_batch_size=2, verbose=0)
    reduce = np.mean if task_reduction == "mean" else np.max
    expected = np.zeros((2, 2))
    for index in np.ndindex(2, 2):
        step = np.zeros((2, 2))
        step[index] = 1e-5
        high, low = (
            reduce([query_loss(start + sign * step, e) for e in episodes])
            for sign in (1, -1)
        )
        expected[index] = (high - low) / 2e-5
    moved = start - learner.encoder.get_weights()[0]
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-5)
    losses = [query_loss(start, e) for e in episodes]
    assert history.history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_learns_and_a_preset_goes_on(make_learner, few_shot, tmp_path, kind):
    learner = make_learner(**kind)
    tasks, new = few_shot(), few_shot(new=True)
    before = learner.evaluate(tasks, episodes=40, verbose=0)
    learner.fit(tasks, 4, steps_per_epoch=40, epochs=2, verbose=0)
    after = learner.evaluate(tasks, episodes=40, verbose=0)
    assert after["loss"]["mean"][0] < before["loss"]["mean"][0]
    after = learner.evaluate(new, episodes=40, verbose=0)
    assert len(after["accuracy"]["mean"]) == len(after["accuracy"]["ci95"]) == 1
    path = tmp_path / "learner.kmeta"
    learner.save_preset(path)
    again = keras_meta.learners.MatchingNetwork.from_preset(path)
    assert again.evaluate(new, episodes=40, verbose=0) == after
    assert int(again.meta_step) == 80
    again.fit(few_shot(), 4, steps_per_epoch=1, verbose=0)
    assert int(again.meta_step) == 81


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_adapted_model_is_a_keras_model_of_its_own(
    make_learner, few_shot, tmp_path, kind
):
    """With running statistics it predicts what `evaluate` judges."""
    learner = make_learner(**kind)
    learner.fit(few_shot(), 2, steps_per_epoch=3, verbose=0)
    episode = few_shot(new=True).sample(5)
    adapted = learner.adapt(episode.support_x, episode.support_y)
    predicted = adapted.predict(np.array(episode.query_x), verbose=0)
    assert predicted.shape == (12, 3)
    if kind.get("batch_statistics") != "task":
        labels = tf.one_hot(episode.support_y, 3)
        expected = learner.model((episode.support_x, labels, episode.query_x))
        np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
    adapted.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(
        loaded.predict(np.array(episode.query_x), verbose=0), predicted, rtol=1e-6
    )
    _, accuracy = adapted.evaluate(
        np.array(episode.query_x), np.array(episode.query_y), verbose=0
    )
    right = predicted.argmax(axis=1) == np.array(episode.query_y)
    assert accuracy == pytest.approx(right.mean())


def test_task_statistics_of_the_adapted_model_are_the_supports(
    make_learner, make_encoder, few_shot
):
    learner = make_learner(metric="euclidean", batch_statistics="task")
    episode = few_shot().sample(5)
    adapted = learner.adapt(episode.support_x, episode.support_y)
    plain = make_encoder()
    outputs = plain.layers[0](episode.support_x)
    inner = next(m for m in adapted.layers if isinstance(m, keras.Sequential))
    normalization = inner.layers[1]
    np.testing.assert_allclose(
        normalization.moving_mean, np.mean(outputs, axis=(0, 1, 2)), rtol=1e-4
    )


def test_running_statistics_follow_the_episodes(make_learner, make_encoder, few_shot):
    """momentum * old + (1 - momentum) * the episode's, averaged over the tasks."""
    learner = make_learner(outer=keras.optimizers.SGD(0.0))
    tasks = few_shot()
    learner.fit(tasks, meta_batch_size=3, steps_per_epoch=1, verbose=0)
    first = make_encoder().layers[0]
    means = []
    for number in range(3):
        episode = tasks.sample(tf.constant([2 * 3, number], "int64"))
        both = tf.concat([episode.support_x, episode.query_x], axis=0)
        means.append(np.mean(first(both), axis=(0, 1, 2)))
    received = learner.encoder.layers[1].moving_mean
    np.testing.assert_allclose(received, 0.5 * np.mean(means, axis=0), rtol=1e-4)


def test_validation_and_evaluation_may_have_other_ways(make_learner, few_shot):
    learner = make_learner()
    history = learner.fit(
        few_shot(ways=5, shots=1),
        meta_batch_size=2,
        steps_per_epoch=2,
        validation_tasks=few_shot(ways=2, new=True),
        validation_episodes=4,
        verbose=0,
    )
    assert len(history.history["val_accuracy"]) == 1
    result = learner.evaluate(few_shot(ways=4, new=True), episodes=4, verbose=0)
    assert 0.0 <= result["accuracy"]["mean"][0] <= 1.0


def test_xla_and_plain_graphs_agree(make_encoder, few_shot):
    weights = []
    for jit_compile in (False, True):
        learner = keras_meta.learners.MatchingNetwork(make_encoder(), seed=3)
        learner.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
        learner.fit(few_shot(), 2, steps_per_epoch=3, verbose=0)
        weights.append(learner.encoder.get_weights())
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-6)


def test_it_is_saved_and_loaded_as_a_keras_model(make_learner, few_shot, tmp_path):
    learner = make_learner(metric="euclidean", full_context=1)
    learner.fit(few_shot(), 2, steps_per_epoch=2, verbose=0)
    learner.save(tmp_path / "learner.keras")
    again = keras.models.load_model(tmp_path / "learner.keras")
    for value, wanted in zip(again.get_weights(), learner.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)
    results = [
        model.evaluate(few_shot(), episodes=4, verbose=0) for model in (learner, again)
    ]
    assert results[0] == results[1]


def unknown_size():
    return keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3)])


def two_outputs():
    x = keras.Input((6, 6, 1))
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, [keras.layers.Dense(2)(flat), keras.layers.Dense(2)(flat)])


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"encoder": "net"}, TypeError, "`encoder` must be a `keras.Model`.*'net'"),
        ({"encoder": unknown_size}, ValueError, r"fixed size.*\(None, None, None, 2\)"),
        ({"encoder": two_outputs}, ValueError, "one tensor of a fixed size"),
        ({"metric": "manhattan"}, ValueError, r"\['cosine', 'euclidean'\].*manhattan"),
        ({"scale": 0.0}, ValueError, "`scale` must be > 0 and finite.*scale=0.0"),
        ({"scale": "big"}, ValueError, "Received: scale='big'"),
        (
            {"full_context": -1},
            ValueError,
            "`full_context` must be None or an integer >= 0.*=-1",
        ),
        ({"full_context": False}, ValueError, "`full_context` must be None.*=False"),
        ({"full_context": 1.0}, ValueError, "`full_context` must be None.*=1.0"),
        ({"task_reduction": "best"}, ValueError, "`task_reduction` must be one of"),
        ({"batch_statistics": "all"}, ValueError, r"\['task', 'running'\].*'all'"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused(make_encoder, arguments, error, text):
    encoder = arguments.get("encoder", make_encoder)
    arguments = arguments | {"encoder": encoder() if callable(encoder) else encoder}
    with pytest.raises(error, match=text):
        keras_meta.learners.MatchingNetwork(**arguments)


def episode_of(support_y, query_y, count=4):
    x = np.ones((1, count, 6, 6, 1), "float32")
    return tf.data.Dataset.from_tensor_slices(
        (x, np.array([support_y]), x, np.array([query_y]))
    )


@pytest.mark.parametrize(
    "support_y, query_y, text",
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], "4 support examples for 3 ways, none of class 1"),
        ([0, 1, 1, 0], [0, 1, 2, 0], r"in \[0, 2\), those of the support set.*class 2"),
        ([0, 1, -1, 0], [0, 1, 1, 0], "class numbers >= 0. Received: -1"),
        ([0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], "class numbers, integers.*float"),
    ],
)
def test_episodes_that_cannot_be_compared_are_refused(
    make_learner, support_y, query_y, text
):
    learner = make_learner()
    with pytest.raises(ValueError, match=text):
        learner.fit(episode_of(support_y, query_y), meta_batch_size=1, verbose=0)
    with pytest.raises(ValueError, match=text):
        learner.evaluate(episode_of(support_y, query_y), episodes=2, verbose=0)


@pytest.mark.parametrize(
    "count, support_y, text",
    [
        (3, [0, 1], r"the same number of examples.*\(3, 6, 6, 1\).*\(2,\)"),
        (2, [0, 2], r"every class number from 0.*\[0, 2\]"),
        (0, np.zeros(0, "int32"), "at least one. Received"),
    ],
)
def test_support_sets_that_cannot_be_compared_are_refused(
    make_learner, count, support_y, text
):
    x = np.ones((count, 6, 6, 1), "float32")
    with pytest.raises(ValueError, match=text):
        make_learner().adapt(x, support_y)


def test_a_later_episode_that_cannot_be_compared_is_named(make_learner):
    """Its support set lacks class 0; the guard refuses the step and says which."""
    x = np.ones((2, 4, 6, 6, 1), "float32")
    y = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    dataset = tf.data.Dataset.from_tensor_slices((x, y, x, np.tile(y[:1], (2, 1))))
    learner = make_learner()
    with pytest.raises(FloatingPointError, match="place 1 .*have a support example"):
        learner.fit(dataset, meta_batch_size=2, verbose=0)
    result = learner.evaluate(dataset, episodes=2, verbose=0)
    assert np.isnan(result["loss"]["mean"][0])


@pytest.mark.parametrize("statistics", ["running", "task"])
def test_evaluation_uses_the_statistics_that_were_asked_for(
    make_learner, few_shot, statistics
):
    """Means over the same tasks, with the encoder called by hand."""
    learner = make_learner(metric="euclidean", batch_statistics=statistics)
    tasks = few_shot(new=True)
    learner.fit(few_shot(), 2, steps_per_epoch=3, verbose=0)
    received = learner.evaluate(tasks, episodes=3, seed=5, verbose=0)["loss"]["mean"]
    losses = []
    for number in range(3):
        episode = tasks.sample(tf.constant([2**33 + 5, number], "int64"))
        both = tf.concat([episode.support_x, episode.query_x], axis=0)
        embedded = np.array(learner.encoder(both, training=statistics == "task"))
        embedded = embedded.reshape(len(both), -1).astype("float64")
        labels = np.array(episode.support_y)
        means = np.stack([embedded[:6][labels == way].mean(axis=0) for way in range(3)])
        distances = ((embedded[6:, None] - means[None]) ** 2).sum(axis=-1)
        rows = np.arange(len(distances)), np.array(episode.query_y)
        losses.append(-log_softmax(-distances, axis=1)[rows].mean())
    np.testing.assert_allclose(received, np.mean(losses), rtol=1e-4)


def test_half_precision_compares_in_float32(few_shot):
    """An embedding of zeros has no direction, and no NaN either."""
    drowned = keras.initializers.Constant(-1e3)
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        encoder = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(3, "relu", bias_initializer=drowned),
            ]
        )
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    learner = keras_meta.learners.MatchingNetwork(encoder, seed=3)
    learner.compile(keras.optimizers.SGD(0.1))
    history = learner.fit(few_shot(), 2, steps_per_epoch=1, verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.log(3.0), rel=1e-3)


def test_a_frozen_layer_needs_a_new_learner(make_learner, few_shot):
    learner = make_learner()
    learner.encoder.layers[0].trainable = False
    with pytest.raises(ValueError, match="MatchingNetwork was made. Received: 2 inst"):
        learner.fit(few_shot(), 2, steps_per_epoch=1, verbose=0)


def test_presets_of_the_other_kind_are_refused(make_learner, few_shot, tmp_path):
    learner = make_learner()
    path = tmp_path / "learner.kmeta"
    learner.save_preset(path)
    with pytest.raises(keras_meta.presets.PresetError, match="not saved by a MetaTr"):
        keras_meta.MetaTrainer.from_preset(path)
    preset = keras_meta.load(path)
    assert preset.initialize(preset.model()).output_shape == (None, 2, 2, 3)
    del preset.card["matching_network"]
    preset.save(path)
    with pytest.raises(
        keras_meta.presets.PresetError, match="not saved by a MatchingN.*MetaTrainer"
    ):
        keras_meta.learners.MatchingNetwork.from_preset(path)
