import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training import inner_loop
from keras_meta.training.inner_batches import inner_batches


def test_batches_pass_over_the_set_in_new_random_orders():
    batches = np.array(inner_batches(tf.constant([3, 1], "int64"), 6, 4, 6))
    passes = batches.reshape(4, 6)
    np.testing.assert_array_equal(
        np.sort(passes, axis=1), np.tile(np.arange(6), (4, 1))
    )
    assert len({tuple(order) for order in passes}) == 4
    other = np.array(inner_batches(tf.constant([3, 2], "int64"), 6, 4, 6))
    assert (other != batches).any()


@pytest.mark.parametrize("batch_size", [None, 6, 7])
def test_the_whole_set_needs_no_batches(batch_size):
    assert inner_batches(tf.constant([3, 1], "int64"), 6, batch_size, 5) is None


@pytest.mark.parametrize("task_axis", ["sequential", "vectorize"])
@pytest.mark.parametrize("unrolled", [True, False])
def test_evaluation_and_training_draw_batches(
    make_trainer, sinusoids, task_axis, unrolled, monkeypatch
):
    """Small batches change the result; a batch as large as the set does not."""
    results, num_steps = [], 2
    if not unrolled:  # A graph loop, but with vectorized tasks from 4 steps on.
        monkeypatch.setattr(inner_loop, "MAX_UNROLLED_STEPS", 1)
        num_steps = 4
    # A batch as large as the set is none: found before the loop, so seen once above.
    sizes = (None, 5, 2) if unrolled else (5, 2)
    for batch_size in sizes:
        trainer = make_trainer(
            inner=keras_meta.SGD(0.05),
            inner_batch_size=batch_size,
            task_axis=task_axis,
            inner_steps=num_steps,
        )
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=2, verbose=0)
        losses = trainer.evaluate(sinusoids, episodes=4, verbose=0)["loss"]["mean"]
        results.append((losses, trainer.model.get_weights()[0]))
    *whole, small = results
    assert whole[0][0] == whole[-1][0] != small[0]
    np.testing.assert_array_equal(whole[0][1], whole[-1][1])
    assert np.abs(whole[0][1] - small[1]).max() > 1e-4


def test_evaluation_may_take_other_steps_than_training(make_trainer, sinusoids):
    trainer = make_trainer(inner_steps=1, evaluation_steps=3)
    history = trainer.fit(
        sinusoids,
        meta_batch_size=2,
        steps_per_epoch=1,
        validation_tasks=sinusoids,
        validation_episodes=1,
        verbose=0,
    )
    assert len(trainer.evaluate(sinusoids, episodes=4, verbose=0)["loss"]["mean"]) == 4
    x, y = np.ones((5, 1), "float32"), np.ones((5, 1), "float32")
    np.testing.assert_allclose(
        trainer.adapt(x, y)(x), trainer.adapt(x, y, inner_steps=3)(x), rtol=1e-6
    )
    assert np.abs(trainer.adapt(x, y)(x) - trainer.adapt(x, y, inner_steps=1)(x)).max()
    # The tasks of validation are those of the stream after training's.
    episode = sinusoids.sample(tf.constant([2 * 7 + 1, 0], "int64"))
    adapted = trainer.adapt(episode.support_x, episode.support_y)
    error = np.mean((adapted(episode.query_x) - episode.query_y) ** 2)
    np.testing.assert_allclose(history.history["val_loss"][0], error, rtol=1e-4)


def test_support_sets_of_many_sizes_are_adapted_to(make_trainer):
    trainer = make_trainer(inner_batch_size=2, inner_steps=3)
    for count in (1, 3, 4, 5):
        x = np.linspace(0.0, 1.0, count, dtype="float32")[:, None]
        assert np.isfinite(trainer.adapt(x, x)(x)).all()
