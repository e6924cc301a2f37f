import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training import inner_loop
from keras_meta.training.task_axis import can_vectorize, map_tasks


def trained(make_trainer, sinusoids, **kwargs):
    trainer = make_trainer(**kwargs)
    trainer.fit(sinusoids, meta_batch_size=3, steps_per_epoch=4, verbose=0)
    result = trainer.evaluate(sinusoids, episodes=5, meta_batch_size=3, verbose=0)
    return [*trainer.get_weights(), np.array(result["loss"]["mean"])], trainer


@pytest.fixture(scope="module")
def reference(make_trainer, sinusoids):
    return trained(make_trainer, sinusoids, inner_steps=2)[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"task_axis": "vectorize"},
        {"jit_compile": True},
        {"task_axis": "auto", "jit_compile": True},
        {"steps_per_execution": 1},
        {"steps_per_execution": 2},
        {"run_eagerly": True},
    ],
    ids=str,
)
def test_how_it_is_computed_does_not_change_the_numbers(
    make_trainer, sinusoids, reference, settings
):
    """Sampling, four meta-steps and evaluation, against plain sequential graphs."""
    values, trainer = trained(make_trainer, sinusoids, inner_steps=2, **settings)
    for value, wanted in zip(values, reference, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6)
    assert trainer.jit_compile is settings.get("jit_compile", False)
    if "steps_per_execution" in settings:
        assert trainer.steps_per_execution == settings["steps_per_execution"]


def test_long_inner_loops_compile_where_tasks_are_vectorized(
    make_trainer, sinusoids, monkeypatch
):
    """XLA cannot lower a vectorized graph loop: the steps are written out instead."""
    values = []
    for most, settings in (
        (10, {}),
        (1, {"task_axis": "vectorize", "jit_compile": True}),
    ):
        monkeypatch.setattr(inner_loop, "MAX_UNROLLED_STEPS", most)
        trainer = make_trainer(inner_steps=2, **settings)
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=1, verbose=0)
        values.append(trainer.get_weights())
    for plain, compiled in zip(*values, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-6)


def test_auto_takes_the_vectorized_axis_for_dense_nets_only(make_trainer, sinusoids):
    trainer = make_trainer(task_axis="auto")
    trainer.evaluate(sinusoids, episodes=2, verbose=0)
    assert trainer._engine.task_axis == "vectorize"

    images = np.random.default_rng(0).normal(size=(4, 3, 4, 4, 1))
    tasks = keras_meta.tasks.FewShotClassification(images, ways=2, shots=1, queries=1)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer = make_trainer(model, loss=loss, task_axis="auto")
    trainer.evaluate(tasks, episodes=2, verbose=0)
    assert trainer._engine.task_axis == "sequential"
    history = trainer.fit(tasks, meta_batch_size=2, steps_per_epoch=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_map_tasks_stacks_what_each_task_gives():
    elements = (tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([10.0, 20.0]))
    signature = {"sum": tf.TensorSpec((), tf.float32)}

    def function(task):
        return {"sum": tf.reduce_sum(task[0]) + task[1]}

    for axis in ("vectorize", "sequential"):
        result = map_tasks(function, elements, axis, signature)
        np.testing.assert_array_equal(result["sum"], [13.0, 27.0])


def test_can_vectorize_knows_what_has_no_converter():
    spec = tf.TensorSpec((1,), tf.float32)
    seeds = tf.constant([[0, 1], [0, 2]])
    assert can_vectorize(lambda s: tf.cast(s[:1], tf.float32), seeds, spec)
    assert not can_vectorize(
        lambda s: tf.random.stateless_uniform((1,), s), seeds, spec
    )


def test_a_convolution_cannot_be_vectorized(make_trainer, sinusoids):
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Reshape((1, 1)), keras.layers.Conv1D(1, 1)]
    )
    model = keras.Sequential([model, keras.layers.Flatten()])
    trainer = make_trainer(model, task_axis="vectorize")
    for _ in range(2):
        with pytest.raises(ValueError, match='vectorized_map.*Use task_axis="auto"'):
            trainer.evaluate(sinusoids, episodes=2, verbose=0)
