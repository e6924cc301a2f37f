"""Every kind of Keras model, adapted; with numbers from `model.fit` or by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_meta


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units, "tanh")
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 2)))
    return model


def nested():
    trunk = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "tanh")])
    return keras.Sequential([keras.Input((2,)), trunk, keras.layers.Dense(1)])


def two_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    hidden = keras.layers.Dense(3)(keras.layers.Concatenate()([a, b]))
    return keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(hidden))


def two_outputs():
    x = keras.Input((2,))
    hidden = keras.layers.Dense(3, "tanh")(x)
    outputs = {
        "u": keras.layers.Dense(1, name="u")(hidden),
        "v": keras.layers.Dense(2, name="v")(hidden),
    }
    return keras.Model(x, outputs)


def arrays(model, examples, seed):
    """Inputs and targets that fit one of the models above, float32."""
    generator = np.random.default_rng(seed)

    def draw(columns):
        return generator.normal(size=(examples, columns)).astype("float32")

    x, y = draw(2), draw(1)
    if model is two_inputs:
        x = {"a": x, "b": draw(1)}
    if model is two_outputs:
        y = {"u": y, "v": draw(2)}
    return x, y


@pytest.mark.parametrize(
    "model", [subclassed, nested, two_inputs, two_outputs], ids=lambda m: m.__name__
)
def test_adapt_takes_the_steps_of_plain_fit(make_trainer, model):
    keras.utils.set_random_seed(2)
    built = model()
    loss = {"u": "mse", "v": "mae"} if model is two_outputs else "mse"
    trainer = make_trainer(built, keras_meta.SGD(0.1), loss=loss, inner_steps=2)
    x, y = arrays(model, 4, 0)
    before = built.get_weights()
    adapted = trainer.adapt(x, y)
    built.compile(keras.optimizers.SGD(0.1), loss=loss)
    built.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for value, wanted, old in zip(
        adapted.get_weights(), built.get_weights(), before, strict=True
    ):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(value, old)
    again = arrays(model, 7, 1)  # Another size of the support set.
    assert np.isfinite(trainer.adapt(*again).evaluate(*again, verbose=0)).all()


@pytest.mark.parametrize(
    "model", [subclassed, two_inputs, two_outputs], ids=lambda m: m.__name__
)
def test_fit_and_evaluate_take_every_kind_of_model(make_trainer, model):
    """The metric is by hand: the mean absolute error of the first output."""
    built = model()
    metrics = {"u": ["mae"]} if model is two_outputs else ["mae"]
    trainer = make_trainer(
        built, keras_meta.SGD(0.0), loss="mse", metrics=metrics, task_axis="auto"
    )
    episodes = [(*arrays(model, 4, i), *arrays(model, 3, i + 9)) for i in range(4)]
    parts = [
        tf.nest.map_structure(lambda *arrays: np.stack(arrays), *part)
        for part in zip(*episodes, strict=True)
    ]
    dataset = tf.data.Dataset.from_tensor_slices(tuple(parts))
    result = trainer.evaluate(dataset, episodes=4, verbose=0)

    def first(y):
        return np.array(y["u"] if model is two_outputs else y)

    errors = [np.abs(first(built(e[2])) - first(e[3])).mean() for e in episodes]
    (name,) = [name for name in result if name.endswith("mae")]
    np.testing.assert_allclose(result[name]["mean"], [np.mean(errors)] * 2, rtol=1e-5)
    before = built.get_weights()
    trainer.fit(dataset, meta_batch_size=2, verbose=0)
    assert not np.array_equal(before[0], built.get_weights()[0])


def test_the_adapted_model_leaves_the_trainer_alone(make_trainer):
    trainer = make_trainer()
    before = trainer.get_weights()
    adapted = trainer.adapt(np.ones((3, 1)), np.ones((3, 1)))
    adapted.fit(np.ones((3, 1)), np.ones((3, 1)), verbose=0)
    for old, new in zip(before, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_loss_without_a_name_in_keras_will_do(make_trainer):
    trainer = make_trainer(loss=lambda y, y_pred: keras.ops.mean((y - y_pred) ** 2))
    adapted = trainer.adapt(np.ones((3, 1)), np.ones((3, 1)))
    prediction = np.array(adapted(np.ones((3, 1))))
    score = adapted.evaluate(np.ones((3, 1)), np.ones((3, 1)), verbose=0)
    np.testing.assert_allclose(score, np.mean((prediction - 1) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    "x, y, text",
    [
        (np.ones((0, 1)), np.ones((0, 1)), r"at least one. Received: .*\(0, 1\)"),
        (np.ones((3, 1)), np.ones((2, 1)), r"same number of examples.*\(2, 1\)"),
        (np.full((3, 1), np.nan), np.ones((3, 1)), "`support_x` must be finite.*3 val"),
        (np.ones((3, 1)), np.full((3, 1), np.inf), "`support_y` must be finite"),
        (np.ones((3, 5)), np.ones((3, 1)), r"cannot be called .*\[\(3, 5\)\]; the mod"),
        (np.ones((3, 1)), np.ones((3, 2)), r"targets \(3, 2\), predictions \(3, 1\)"),
    ],
)
def test_a_support_set_that_cannot_work_is_named(make_trainer, x, y, text):
    with pytest.raises(ValueError, match=text):
        make_trainer().adapt(x, y)


def test_steps_must_be_counted(make_trainer):
    with pytest.raises(ValueError, match="`inner_steps` must be an integer >= 1.*=0"):
        make_trainer().adapt(np.ones((3, 1)), np.ones((3, 1)), inner_steps=0)


def test_a_class_without_config_is_named(make_trainer):
    class Bare(Subclassed):
        def __init__(self, size):
            super().__init__(size)

    model = Bare(2)
    model(np.zeros((1, 1)))
    with pytest.raises(TypeError, match="must have a `get_config.*Received: Bare"):
        make_trainer(model).adapt(np.ones((3, 1)), np.ones((3, 1)))


def test_head_only_adaptation_freezes_the_body_so_that_fit_goes_on(
    make_trainer, sinusoids
):
    trainer = make_trainer(adapt="head")
    episode = sinusoids.sample(0)
    model = trainer.adapt(episode.support_x, episode.support_y)
    assert [layer.trainable for layer in model.layers] == [False, True]
    body = model.layers[0].kernel.numpy()
    model.fit(episode.support_x, episode.support_y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), body)


def test_adapted_statistics_are_the_supports_also_with_a_momentum_near_one(
    make_trainer,
):
    """Expected: NumPy's mean and variance of the support set."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.BatchNormalization(momentum=0.9999),
            keras.layers.Dense(1),
        ]
    )
    trainer = keras_meta.MetaTrainer(model, keras_meta.SGD(1e-3), seed=0)
    trainer.compile(loss="mse", jit_compile=False)
    x = 0.01 * np.random.default_rng(0).normal(size=(10, 1)).astype("float32")
    layer = trainer.adapt(x, x).layers[0]
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.var(0), rtol=1e-3)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(0), rtol=1e-3)


def test_lists_of_numbers_are_arrays(make_trainer):
    trainer = make_trainer()
    x, y = [[1.0], [2.0], [3.0]], [0.5, 1.5, 2.5]
    adapted = trainer.adapt(x, y).get_weights()
    wanted = trainer.adapt(np.array(x), np.array(y)).get_weights()
    for value, expected in zip(adapted, wanted, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    "x, y, text",
    [
        ([[1.0], [2.0]], ["a", "b"], "Labels must be numbers. .*U1. For .*np.unique"),
        (np.ones((2, 1)), np.array(["a", "b"]), "Labels must be numbers"),
        ([["a"], ["b"]], [1.0, 2.0], "Inputs must be numbers. Received: `support_x`"),
        ([[1.0], [2.0, 3.0]], [1.0, 2.0], "`support_x` must hold rows of equal length"),
        ([np.ones(1)] * 3, np.ones((3, 1)), r"several inputs: .*pass np.stack\(list"),
    ],
)
def test_lists_that_make_no_array_of_numbers_are_named(make_trainer, x, y, text):
    with pytest.raises(ValueError, match=text):
        make_trainer().adapt(x, y)


def test_adapt_is_traced_once(make_trainer):
    """And once more where the number of examples changes; then never again."""
    trainer = make_trainer()
    for count in (3, 3, 3, 4, 5, 6):
        trainer.adapt(np.ones((count, 1)), np.ones((count, 1)))
    (function,) = [f for key, f in trainer._functions.items() if key[0] == "adapt"]
    assert function.experimental_get_tracing_count() == 2
