"""TrainingProblem: the loss of Keras' own model, from weights of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_meta.tasks import TrainingProblem

STEP = tf.constant([2**40, 3], "int64")


def seed(number):
    return tf.constant([0, number], "int64")


def data(rows=30):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 4))
    return x, np.arange(rows) % 3


def make_model(*extra):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(50, "tanh"),
            *extra,
            keras.layers.Dense(3),
        ]
    )


def make(model=None, **kwargs):
    x, y = data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return TrainingProblem(model or make_model(), x, y, **{"loss": loss, **kwargs})


def batch_by_hand(problem, step):
    """The examples of a batch: read off a problem whose labels are row numbers."""
    x, _ = data()
    rows = np.arange(len(x), dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    seen = []

    def spy(y_true, y_pred):
        seen.append(y_true)
        return tf.reduce_sum(y_pred, axis=-1)

    other = TrainingProblem(model, x, rows, spy, batch_size=problem.batch_size)
    seen.clear()
    other.loss((tf.constant(0.0), seed(0)), [tf.zeros((4, 1)), tf.zeros(1)], step)
    return seen[0].numpy()[:, 0].astype(int)


def test_the_loss_is_that_of_the_model_on_the_batch():
    problem = make(batch_size=7)
    data_, parameters = problem.sample(seed(5))
    x, y = data()
    rows = batch_by_hand(problem, STEP)
    assert rows.shape == (7,)
    w1, b1, w2, b2 = [p.numpy() for p in parameters]
    logits = np.tanh(x[rows] @ w1 + b1) @ w2 + b2
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(chances[np.arange(7), y[rows]]).mean()
    np.testing.assert_allclose(
        problem.loss(data_, parameters, STEP), expected, rtol=1e-5
    )


def test_batches_differ_from_step_to_step_and_cover_the_data():
    problem = make(batch_size=10)
    rows = [batch_by_hand(problem, STEP + seed(i)) for i in range(30)]
    assert len(np.unique(np.concatenate(rows))) == 30
    assert not np.array_equal(rows[0], rows[1])


def test_each_task_starts_from_weights_of_its_own_with_the_models_spread():
    model = make_model()
    problem = make(model)
    first, second = (problem.sample(seed(i)).parameters for i in range(2))
    for variable, one, other in zip(
        model.trainable_variables, first, second, strict=True
    ):
        start = np.array(variable)
        if start.ndim == 1:  # a bias
            np.testing.assert_array_equal(one, start)
            continue
        assert not np.array_equal(one, other)
        np.testing.assert_allclose(np.std(one), start.std(), rtol=0.25)


def test_initial_scale_is_drawn_for_each_task():
    model = make_model()
    problem = make(model, initial_scale=(0.1, 10.0))
    start = np.array(model.trainable_variables[0]).std()
    scales = [np.std(problem.sample(seed(i)).parameters[0]) / start for i in range(60)]
    assert min(scales) < 0.25
    assert max(scales) > 4.0


def test_noisy_labels_are_the_same_at_every_step_of_a_task():
    # A model that sees the row number, and a loss that tells the label.
    x = np.arange(200, dtype="float32")[:, None]
    y = np.arange(200)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    seen = []

    def spy(y_true, y_pred):
        seen.append((y_pred.numpy()[:, 0].round().astype(int), y_true.numpy()))
        return tf.reduce_sum(y_pred, axis=-1)

    problem = TrainingProblem(model, x, y, spy, batch_size=100, label_noise=0.3)
    seen.clear()
    identity = [tf.ones((1, 1)), tf.zeros(1)]
    for task in range(2):
        for step in range(20):
            problem.loss(problem.sample(seed(task)).data, identity, STEP + seed(step))
    labels = np.full((2, 200), -1)
    for number, (rows, given) in enumerate(seen):
        of_task = labels[number // 20]
        known = of_task[rows] >= 0
        np.testing.assert_array_equal(of_task[rows][known], given[known])
        of_task[rows] = given
    assert (labels >= 0).all()
    wrong = (labels != np.arange(200)).mean(axis=1)
    assert np.all((0.2 < wrong) & (wrong < 0.4))
    assert not np.array_equal(labels[0], labels[1])


def test_regularisers_dropout_and_batch_normalisation():
    model = make_model(
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.1)),
    )
    before = [np.array(v) for v in model.weights]
    problem = make(model, batch_size=30)
    data_, parameters = problem.sample(seed(0))
    loss = problem.loss(data_, parameters, STEP)
    assert float(loss) == float(problem.loss(data_, parameters, STEP))
    assert float(loss) != float(problem.loss(data_, parameters, STEP + seed(1)))
    heavier = list(parameters)
    index = [p.shape for p in parameters].index((50, 5))
    heavier[index] = tf.zeros((50, 5))
    penalty = 0.1 * np.sum(parameters[index].numpy() ** 2)
    assert float(loss) > penalty > 0.1
    assert float(problem.loss(data_, heavier, STEP)) < float(loss)
    # It only reads the model.
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_dropout_layers_of_one_shape_draw_different_masks():
    masks = []

    class Seen(keras.layers.Layer):
        def call(self, x):
            if hasattr(x, "numpy"):
                masks.append(x.numpy())
            return x

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    layers = [keras.layers.Dropout(0.5), Seen(), keras.layers.Dropout(0.5), Seen()]
    model = keras.Sequential([keras.Input((40,)), *layers, keras.layers.Dense(1)])
    problem = TrainingProblem(model, np.ones((8, 40)), np.ones((8, 1)), "mse", 8)
    masks.clear()
    data_, parameters = problem.sample(seed(0))
    problem.loss(data_, parameters, STEP)
    first, second = ((mask != 0).astype(int) for mask in masks)
    alive = first.astype(bool)
    # Of what the first layer leaves, the second one drops about half again.
    assert 0.3 < second[alive].mean() < 0.7


def test_biases_of_recurrent_layers_start_as_they_are():
    model = keras.Sequential(
        [keras.Input((5, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)]
    )
    problem = TrainingProblem(model, np.ones((4, 5, 2)), np.ones((4, 1)), "mse", 4)
    bias = problem.sample(seed(3)).parameters[2]
    np.testing.assert_array_equal(bias, [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_several_inputs():
    inputs = [keras.Input((4,)), keras.Input((2,))]
    outputs = keras.layers.Dense(3)(keras.layers.Concatenate()(inputs))
    x, y = data()
    problem = TrainingProblem(
        keras.Model(inputs, outputs),
        [x, x[:, :2]],
        y,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    data_, parameters = problem.sample(seed(0))
    assert np.isfinite(problem.loss(data_, parameters, STEP))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "mlp"}, TypeError, "`model` must be a built `keras.Model`"),
        (
            {"model": keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])},
            ValueError,
            "must have trainable variables",
        ),
        ({"x": np.zeros((0, 4)), "y": []}, ValueError, "same number of examples"),
        ({"y": [0, 1]}, ValueError, r"Received: shapes \[\(30, 4\), \(2,\)\]"),
        ({"x": np.full((30, 4), np.nan)}, ValueError, "must be finite. Received: 120"),
        (
            {"y": np.array(["a", "b", "c"] * 10)},
            ValueError,
            "must hold numbers.*unique",
        ),
        ({"y": np.eye(3)[np.arange(30) % 3]}, ValueError, "one-hot rows.*argmax"),
        ({"y": [np.zeros(30), np.zeros(30)]}, ValueError, "must be one array"),
        ({"x": np.zeros((30, 4)).tolist()}, ValueError, "`x` must be an array"),
        ({"loss": None}, ValueError, "`loss` must be a Keras loss"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer"),
        ({"label_noise": 1.5}, ValueError, r"`label_noise` must be in \[0, 1\]"),
        ({"initial_scale": 0.0}, ValueError, "`initial_scale` must be above 0"),
        ({"y": np.arange(30) % 4}, ValueError, r"in \[0, 3\).*labels from 0 to 3"),
        (
            {"y": np.full((30, 3), 1e38), "loss": "mse"},
            ValueError,
            "must be finite where a run starts",
        ),
    ],
)
def test_what_cannot_be_trained(change, error, message):
    x, y = data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    arguments = {"model": make_model(), "x": x, "y": y, "loss": loss} | change
    with pytest.raises(error, match=message):
        TrainingProblem(**arguments)
