import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training.finite_guard import all_finite, first_bad_task

ADVICE = "smaller outer learning rate.*`clipnorm`.*check that task's data"


def test_all_finite_sees_every_kind():
    good = tf.constant([1.0, 2.0])
    assert all_finite([good, good])
    for bad in (np.nan, np.inf, -np.inf):
        assert not all_finite([good, tf.constant([1.0, bad])])
    assert not all_finite([tf.constant([np.inf, -np.inf])])


def test_first_bad_task_looks_at_losses_and_gradients():
    losses = tf.constant([1.0, 2.0, np.nan])
    gradients = [tf.constant([[1.0, 1.0], [1.0, -np.inf], [0.0, 0.0]])]
    seeds = tf.constant([[0, 10], [0, 11], [0, 12]], "int64")
    assert first_bad_task(losses, [], seeds) == 12
    assert first_bad_task(losses, gradients, seeds) == 11
    assert first_bad_task(losses[:2], [], seeds[:2]) == -1


@pytest.fixture
def poisoned(dataset_of, episode):
    """Eight episodes in four meta-batches; the sixth has targets beyond float32."""
    bad = (*episode[:3], episode[3] * 1e30)
    return dataset_of(*[episode] * 5, bad, *[episode] * 2)


@pytest.mark.parametrize("settings", [{}, {"jit_compile": True}], ids=str)
@pytest.mark.parametrize("steps", [1, 4])
def test_one_poisoned_task_stops_before_it_does_harm(
    make_trainer, linear_model, dataset_of, episode, poisoned, settings, steps, tmp_path
):
    """The weights, slots and counters are those after the two meta-steps before."""
    path = tmp_path / "last.weights.h5"
    make = {"inner": keras_meta.SGD(0.1), "steps_per_execution": steps, **settings}
    trainer = make_trainer(linear_model(), **make)
    keep = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=True, save_freq=steps
    )
    with pytest.raises(
        FloatingPointError,
        match=r"at meta-step 2: with the dataset's episode in place 1 of that step's "
        rf"meta-batch \(task 5 of the run\).*{ADVICE}",
    ):
        trainer.fit(poisoned, meta_batch_size=2, callbacks=[keep], verbose=0)
    undisturbed = make_trainer(linear_model(), inner=keras_meta.SGD(0.1))
    undisturbed.fit(dataset_of(*[episode] * 4), meta_batch_size=2, verbose=0)
    for variables in ("trainable_variables", "non_trainable_variables"):
        kept = [np.array(v) for v in getattr(trainer, variables) if v is not None]
        for value, variable in zip(kept, getattr(undisturbed, variables), strict=True):
            if "progress" not in variable.path:
                np.testing.assert_allclose(value, variable, rtol=1e-6)
    for value, wanted in zip(
        trainer.optimizer.variables, undisturbed.optimizer.variables, strict=True
    ):
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
    if steps == 1:
        undisturbed.load_weights(path)
        np.testing.assert_array_equal(
            undisturbed.model.get_weights()[0], trainer.model.get_weights()[0]
        )


def test_exploding_rates_stop_with_the_seed_of_the_task(make_trainer, sinusoids):
    trainer = make_trainer(
        inner=keras_meta.MetaSGD(alpha_init=1e30, seed=0), inner_steps=3
    )
    before = trainer.get_weights()
    with pytest.raises(
        FloatingPointError,
        match="at meta-step 0: with the task of seed "
        r"\(14, 0\) \(draw it again with `tasks.sample\(tf.constant\("
        rf"\[14, 0\], 'int64'\)\)`\).*{ADVICE}",
    ):
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=4, verbose=0)
    for old, new in zip(before, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    # The seed draws the task that training drew.
    np.testing.assert_array_equal(
        sinusoids.sample(tf.constant([14, 0], "int64")).support_x,
        trainer.train_source.example().support_x,
    )


def test_an_outer_step_that_overflows_is_taken_back(make_trainer, sinusoids):
    trainer = make_trainer(outer=keras.optimizers.SGD(3e38))
    before = trainer.get_weights()
    with pytest.raises(
        FloatingPointError,
        match="at meta-step 0: every task's gradient "
        "was finite, but the outer step overflowed",
    ):
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=4, verbose=0)
    for old, new in zip(before, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_an_infinite_gradient_of_a_finite_loss_is_found(
    make_trainer, linear_model, dataset_of, episode
):
    """The loss is sqrt(sum of squares), whose gradient at zero error is not finite."""
    model = linear_model((1.0, 2.0))
    perfect = [part @ np.array([[1.0], [2.0]], "float32") for part in episode[::2]]
    bad = (episode[0], perfect[0] + 1, episode[2], perfect[1])

    def norm(y, y_pred):
        return tf.sqrt(tf.reduce_sum((y - y_pred) ** 2))

    trainer = make_trainer(model, keras_meta.SGD(0.0), loss=norm)
    with pytest.raises(FloatingPointError, match=r"place 1 .*\(task 1 of the run\)"):
        trainer.fit(dataset_of(episode, bad), meta_batch_size=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], [[1.0], [2.0]])


def test_training_goes_on_afterwards(
    make_trainer, linear_model, poisoned, dataset_of, episode
):
    trainer = make_trainer(linear_model(), keras_meta.SGD(0.1))
    with pytest.raises(FloatingPointError):
        trainer.fit(poisoned, meta_batch_size=2, verbose=0)
    trainer.fit(dataset_of(episode, episode), meta_batch_size=2, verbose=0)
    assert int(trainer.meta_step) == 3
