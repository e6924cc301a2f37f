import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.presets import PresetError
from keras_meta.training import CVaR, Huber, Median, TrimmedMean
from keras_meta.training.task_reduction import (
    TASK_REDUCTIONS,
    checked_task_reduction,
    reduce_tasks,
)

ROBUST = ["median", "trimmed_mean", "cvar", "huber"]
OBJECTS = [Median(), TrimmedMean(0.3), CVaR(0.35), Huber(0.9)]


def name_of(value):
    if isinstance(value, (str, list)):
        return None
    return type(value).__name__


def compiled(reduction, jit):
    """Returns `reduce_tasks` in a graph, for arrays and one tensor of gradients."""
    function = tf.function(
        lambda losses, gradient: reduce_tasks(reduction, losses, [gradient]),
        jit_compile=jit,
        autograph=False,
    )

    def run(losses, gradient):
        loss, (gradient,) = function(
            tf.constant(losses, tf.float32), tf.constant(gradient, tf.float32)
        )
        return loss.numpy(), gradient.numpy()

    return run


def test_a_callable_gets_its_own_gradient():
    """d(sum l^2)/dw = sum 2 l dl/dw, by hand: 2*1*[1, 0] + 2*3*[0, 2] = [2, 12]."""
    losses = tf.constant([1.0, 3.0])
    gradients = [tf.constant([[1.0, 0.0], [0.0, 2.0]])]
    loss, (gradient,) = reduce_tasks(
        lambda losses: tf.reduce_sum(losses**2), losses, gradients
    )
    assert float(loss) == 10.0
    np.testing.assert_array_equal(gradient, [2.0, 12.0])
    loss, (gradient,) = reduce_tasks("mean", losses, gradients)
    assert float(loss) == 2.0
    np.testing.assert_array_equal(gradient, [0.5, 1.0])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    "name, loss, weights",
    [
        ("median", 3.0, [0.0, 0.0, 0.5, 0.5]),
        # 0.8 of a task is cut at each end: (0.2 * 1 + 2 + 4 + 0.2 * 900) / 2.4.
        ("trimmed_mean", 77.583333, [1 / 12, 1 / 12, 5 / 12, 5 / 12]),
        ("cvar", 452.0, [0.0, 0.5, 0.0, 0.5]),
        # s = 1.4826 * 1.5; 900 pulls as 1.345 s does: (1 + 2 + 4 + 1.345 s) / 3.
        ("huber", (7.0 + 1.345 * 1.4826 * 1.5) / 3.0, [1 / 3, 0.0, 1 / 3, 1 / 3]),
    ],
)
def test_values_and_weights_by_hand(name, loss, weights, jit):
    """Losses 1, 900, 2, 4; a task's gradient is its unit vector times 10."""
    got, gradient = compiled(name, jit)([1.0, 900.0, 2.0, 4.0], 10.0 * np.eye(4))
    np.testing.assert_allclose(got, loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, 10.0 * np.array(weights), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("num_tasks", [1, 2])
def test_the_smallest_meta_batches(name, num_tasks, jit):
    """One task is itself; of two, CVaR takes the worse and the others the mean."""
    losses = [3.0, 5.0][:num_tasks]
    loss, gradient = compiled(name, jit)(losses, np.eye(2)[:num_tasks])
    wanted = [1.0, 0.0] if num_tasks == 1 else [0.5, 0.5]
    if (num_tasks, name) == (2, "cvar"):
        wanted = [0.0, 1.0]
    np.testing.assert_array_equal(gradient, wanted)
    np.testing.assert_allclose(loss, np.dot(losses, wanted[:num_tasks]), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", ["mean", *ROBUST])
def test_a_task_that_is_not_finite_is_never_hidden(name, jit):
    """Whatever the weight of its rank: the guard of the trainer must see it."""
    run = compiled(name, jit)
    clean_losses, clean_gradient = np.array([2.0, 1.0, 4.0, 3.0]), np.ones((4, 2))
    for place in range(4):
        for value in (np.nan, np.inf, -np.inf):
            losses, gradient = clean_losses.copy(), clean_gradient.copy()
            losses[place] = value
            loss, _ = run(losses, clean_gradient)
            assert not np.isfinite(loss), (place, value)
            gradient[place, 1] = value
            loss, gradient = run(clean_losses, gradient)
            assert np.isfinite(loss)
            assert np.isfinite(gradient).tolist() == [True, False], (place, value)


@pytest.mark.parametrize("name", ROBUST)
def test_names_stand_for_the_defaults(name):
    losses = tf.constant(np.random.default_rng(0).lognormal(size=11), tf.float32)
    assert name in TASK_REDUCTIONS
    loss, _ = reduce_tasks(name, losses, [])
    assert float(loss) == float(TASK_REDUCTIONS[name]()(losses))


def test_fit_follows_the_reduction(make_trainer, linear_model, dataset_of, episode):
    """With max, the meta-step is that of the task with the larger loss alone."""
    easy = (*episode[:3], episode[3] * 0.01)
    hard = (*episode[:3], episode[3] + 5.0)

    def moved(episodes, **kwargs):
        outer = keras.optimizers.SGD(0.1)
        trainer = make_trainer(linear_model(), keras_meta.SGD(0.1), outer, **kwargs)
        trainer.fit(dataset_of(*episodes), meta_batch_size=len(episodes), verbose=0)
        return trainer.model.get_weights()[0]

    np.testing.assert_allclose(
        moved([easy, hard], task_reduction=tf.reduce_max), moved([hard]), rtol=1e-6
    )


def steps_of_tasks(make_trainer, linear_model, dataset_of, episodes, **kwargs):
    """Returns the change of the weights by one meta-step with outer SGD(1)."""
    model = linear_model()
    trainer = make_trainer(
        model, keras_meta.SGD(0.1), keras.optimizers.SGD(1.0), **kwargs
    )
    before = model.get_weights()[0]
    trainer.fit(dataset_of(*episodes), meta_batch_size=len(episodes), verbose=0)
    return model.get_weights()[0] - before


@pytest.mark.parametrize("task_axis, jit", [("sequential", False), ("vectorize", True)])
@pytest.mark.parametrize(
    "reduction, weights",
    [
        ("median", [0, 0, 1, 0, 0]),
        # One of five is cut at each end.
        ("trimmed_mean", [0, 1 / 3, 1 / 3, 1 / 3, 0]),
        # 2.5 of five.
        ("cvar", [0, 0, 0.2, 0.4, 0.4]),
        # Offsets 0, 1, 2, 3, 100 lie far enough apart: only the last is outside.
        ("huber", [0.25, 0.25, 0.25, 0.25, 0]),
        (CVaR(0.2), [0, 0, 0, 0, 1]),
    ],
    ids=name_of,
)
def test_the_meta_step_is_the_weighted_mean_of_the_tasks_steps(
    make_trainer, linear_model, dataset_of, episode, reduction, weights, task_axis, jit
):
    """The tasks' own steps come from meta-steps on one task each."""
    support_x, support_y, query_x, _ = episode
    offsets = [2.0, 0.0, 100.0, 1.0, 3.0]
    adapted_towards = query_x @ np.array([[0.5], [-0.3]], "float32")
    episodes = [
        (support_x, support_y, query_x, adapted_towards + np.float32(offset))
        for offset in offsets
    ]
    fixtures = (make_trainer, linear_model, dataset_of)
    alone = [steps_of_tasks(*fixtures, [episode]) for episode in episodes]
    together = steps_of_tasks(
        *fixtures,
        episodes,
        task_reduction=reduction,
        task_axis=task_axis,
        jit_compile=jit,
    )
    ranks = np.argsort(np.argsort(offsets))
    wanted = sum(weights[rank] * step for rank, step in zip(ranks, alone, strict=True))
    np.testing.assert_allclose(together, wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ROBUST)
def test_fit_refuses_a_step_with_a_nan_task(
    make_trainer, linear_model, dataset_of, episode, name
):
    broken = (*episode[:3], np.full_like(episode[3], np.nan))
    trainer = make_trainer(linear_model(), keras_meta.SGD(0.1), task_reduction=name)
    before = trainer.model.get_weights()[0]
    with pytest.raises(FloatingPointError, match="the dataset's episode in place 3"):
        trainer.fit(
            dataset_of(episode, episode, episode, broken, episode),
            meta_batch_size=5,
            verbose=0,
        )
    np.testing.assert_array_equal(trainer.model.get_weights()[0], before)


@pytest.mark.parametrize("value", ["max", "Median", ["mean"], None, 3, Median, {}])
def test_other_reductions_are_refused(value):
    with pytest.raises(
        ValueError,
        match=r"`task_reduction` must be one of \['mean', 'median', 'trimmed_mean', "
        r"'cvar', 'huber'\], an object such as .*Received: task_reduction=",
    ):
        checked_task_reduction(value)


@pytest.mark.parametrize("reduction", OBJECTS, ids=name_of)
def test_objects_survive_serialization(reduction):
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(reduction)))
    assert serialized["registered_name"] == f"keras_meta>{type(reduction).__name__}"
    again = keras.saving.deserialize_keras_object(serialized)
    assert type(again) is type(reduction)
    assert again.get_config() == reduction.get_config()


@pytest.mark.parametrize("reduction", ["cvar", *OBJECTS], ids=name_of)
def test_presets_and_configs_keep_the_reduction(
    make_trainer, sinusoids, tmp_path, reduction
):
    trainer = make_trainer(task_reduction=reduction)
    trainer.save_preset(tmp_path / "robust.kmeta")
    loaded = keras_meta.MetaTrainer.from_preset(tmp_path / "robust.kmeta")
    rebuilt = keras_meta.MetaTrainer.from_config(trainer.get_config())
    for again in (loaded, rebuilt):
        assert type(again.task_reduction) is type(reduction)
        if reduction == "cvar":
            assert again.task_reduction == "cvar"
        else:
            assert again.task_reduction.get_config() == reduction.get_config()
    # Both take the same next meta-step.
    for one in (trainer, loaded):
        one.fit(sinusoids, meta_batch_size=5, steps_per_epoch=1, verbose=0)
    for value, wanted in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_a_reduction_of_ones_own_needs_registration(make_trainer, tmp_path):
    def worst(losses):
        return tf.reduce_max(losses)

    trainer = make_trainer(task_reduction=worst)
    path = tmp_path / "own.kmeta"
    with pytest.raises(PresetError, match="'worst'.*register it with"):
        trainer.save_preset(path)
    keras.saving.get_custom_objects()["worst"] = worst
    try:
        trainer.save_preset(path)
        assert keras_meta.MetaTrainer.from_preset(path).task_reduction is worst
    finally:
        del keras.saving.get_custom_objects()["worst"]


@pytest.mark.parametrize(
    "reduction",
    [lambda losses: losses, lambda losses: tf.constant(1.0), lambda losses: 1.0],
    ids=["vector", "constant", "number"],
)
def test_what_is_no_scalar_of_the_losses_is_refused(reduction):
    with pytest.raises(ValueError, match="scalar tensor that depends on the losses"):
        reduce_tasks(reduction, tf.constant([1.0, 3.0]), [tf.constant([1.0, 2.0])])


def test_trimming_almost_all_is_the_median():
    trimmed = TrimmedMean(np.nextafter(0.5, 0.0))
    assert float(trimmed(tf.constant([1.0, 9.0, 2.0]))) == 2.0


def own_mean(losses):
    return tf.reduce_mean(losses)


@pytest.mark.parametrize(
    "function", [own_mean, lambda losses: own_mean(losses)], ids=["def", "lambda"]
)
def test_a_function_is_refused_by_every_file(make_trainer, tmp_path, function):
    """Without a warning of Keras': pytest makes errors of warnings."""
    trainer = make_trainer(task_reduction=function)
    for save, name in ((trainer.save_preset, "a.kmeta"), (trainer.save, "a.keras")):
        with pytest.raises(
            PresetError,
            match="`task_reduction` is a function that a preset or a `.keras` file "
            f"cannot hold. Received: task_reduction='{function.__name__}'. Pass an "
            r"object such as `keras_meta.training.TrimmedMean\(0.1\)`; or write",
        ):
            save(tmp_path / name)
    assert not list(tmp_path.iterdir())
