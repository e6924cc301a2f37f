import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta
from keras_meta.training import inner_loop


@pytest.mark.parametrize("inner", ["MetaSGD", "momentum"])
def test_the_graph_loop_gives_the_numbers_of_the_written_out_steps(
    make_trainer, sinusoids, monkeypatch, inner
):
    """Compares the two ways; `test_meta_gradient.py` checks both against NumPy."""
    runs = []
    for most in (10, 0):
        monkeypatch.setattr(inner_loop, "MAX_UNROLLED_STEPS", most)
        rule = keras_meta.MetaSGD(alpha_init=0.05, seed=0)
        if inner == "momentum":
            rule = keras_meta.SGD(0.05, momentum=0.5)
        trainer = make_trainer(inner=rule, inner_steps=2)
        trainer.fit(sinusoids, meta_batch_size=2, steps_per_epoch=2, verbose=0)
        result = trainer.evaluate(sinusoids, episodes=4, verbose=0)
        runs.append([*trainer.get_weights(), np.array(result["loss"]["mean"])])
    for unrolled, looped in zip(*runs, strict=True):
        np.testing.assert_allclose(looped, unrolled, rtol=1e-5, atol=1e-7)


def test_an_embedding_has_dense_gradients(make_trainer):
    """TensorFlow would log that it converts `IndexedSlices`."""
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(10, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    generator = np.random.default_rng(0)
    tasks = keras_meta.tasks.from_groups(
        generator.integers(0, 10, (60, 3)),
        generator.normal(size=60),
        np.repeat(np.arange(6), 10),
    )
    trainer = make_trainer(model, task_axis="vectorize")
    logged = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        trainer.fit(tasks, meta_batch_size=2, steps_per_epoch=2, verbose=0)
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [text for text in logged if "IndexedSlices" in text]
