"""Checks that what runs in `fit` is the rule: every way of running a step."""

import keras

from keras_meta.testing.optimizer_problem import (
    BATCH_SIZE,
    GRADIENTS,
    INPUTS,
    NUM_STEPS,
    START,
    TARGETS,
    apply_all,
    assert_equal_bits,
    assert_same_run,
    fit,
    gradients_of_batch,
    make_model,
    reference_run,
    tensors,
)

BUILD_REMEDY = (
    "Deliver what `build` needs through `initializer=`: in `fit` an assignment in "
    "`build()` belongs to a trace that Keras throws away. Write state only through "
    "what `update` returns."
)
RATE_REMEDY = "Multiply the step by the `learning_rate` that `update` receives."


def fit_equals_the_rule(make_optimizer):
    """A fresh optimizer in a compiled, non-XLA `fit`."""
    _fit_equals_reference(make_optimizer, jit_compile=False)


def fit_with_xla_equals_the_rule(make_optimizer):
    """A fresh optimizer in `fit` with `jit_compile=True`."""
    _fit_equals_reference(make_optimizer, jit_compile=True)


def fit_with_auto_jit_equals_the_rule(make_optimizer):
    """A fresh optimizer in `fit` with `jit_compile="auto"`, Keras' default."""
    _fit_equals_reference(make_optimizer, jit_compile="auto")


def eager_fit_equals_the_rule(make_optimizer):
    """A fresh optimizer in `fit` with `run_eagerly=True`."""
    _fit_equals_reference(make_optimizer, run_eagerly=True)


def custom_loop_equals_the_rule(make_optimizer):
    """A loop that calls `apply` on an optimizer that is not built."""
    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, gradients_of_batch)
    variables = make_model().trainable_variables
    apply_all(optimizer, variables, gradients_of_batch)
    what = "A loop of `apply` must equal the run of the pure `update`."
    assert_same_run(variables, expected, what, BUILD_REMEDY)


def graph_loop_equals_the_rule(make_optimizer):
    """A `tf.range` loop inside one `tf.function`, with a gradient tape."""
    import tensorflow as tf

    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, gradients_of_batch)
    model = make_model()
    optimizer.build(model.trainable_variables)
    inputs, targets = (
        tf.reshape(array, (-1, BATCH_SIZE, array.shape[1]))
        for array in (INPUTS, TARGETS)
    )

    @tf.function
    def run():
        for step in tf.range(NUM_STEPS):
            batch = step % 2
            with tf.GradientTape() as tape:
                error = model(inputs[batch]) - targets[batch]
                loss = tf.reduce_mean(error**2)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)

    run()
    what = "A `tf.range` loop of steps must equal the run of the pure `update`."
    assert_same_run(model.trainable_variables, expected, what, BUILD_REMEDY)


def learning_rate_schedule(make_optimizer):
    """A schedule is read at every step, in `fit`."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.125])
    optimizer = make_optimizer(learning_rate=schedule)
    expected, _ = reference_run(
        optimizer, gradients_of_batch, learning_rates=[0.5, 0.5, 0.125, 0.125]
    )
    model = make_model(optimizer)
    fit(model)
    what = "A learning rate schedule must be followed."
    assert_same_run(model.trainable_variables, expected, what, RATE_REMEDY)


def learning_rate_assignment(make_optimizer):
    """A float, or an assignment between steps, changes the next step."""
    optimizer = make_optimizer(learning_rate=0.5)
    expected, _ = reference_run(optimizer, learning_rates=[0.5, 0.5, 0.125, 0.125])
    variables = make_model().trainable_variables
    apply_all(optimizer, variables, steps=range(2))
    optimizer.learning_rate = 0.125
    apply_all(optimizer, variables, steps=range(2, 4))
    what = "An assignment to `learning_rate` must change the next step."
    assert_same_run(variables, expected, what, RATE_REMEDY)


def learning_rate_callbacks(make_optimizer):
    """`LearningRateScheduler` and `ReduceLROnPlateau` change the compiled step."""
    what = "Callbacks that set the learning rate must change the next epoch."
    # Both: rate 0.5 in the first two epochs, of two steps each, then 0.125.
    for callback in (
        keras.callbacks.LearningRateScheduler(lambda epoch: (0.5, 0.5, 0.125)[epoch]),
        keras.callbacks.ReduceLROnPlateau(
            monitor="loss", factor=0.25, patience=1, min_delta=1e9
        ),
    ):
        optimizer = make_optimizer(learning_rate=0.5)
        expected, _ = reference_run(
            optimizer,
            gradients_of_batch,
            num_steps=6,
            learning_rates=[0.5] * 4 + [0.125] * 2,
        )
        model = make_model(optimizer)
        fit(model, epochs=3, callbacks=[callback])
        assert_same_run(model.trainable_variables, expected, what, RATE_REMEDY)


def frozen_layers(make_optimizer):
    """A layer that is not trainable keeps its weights; the rest is trained."""
    output_layer = slice(2, 4)
    optimizer = make_optimizer()
    expected, _ = reference_run(
        optimizer,
        lambda step, parameters: gradients_of_batch(step, [*START[:2], *parameters])[
            output_layer
        ],
        trained=output_layer,
    )
    model = make_model(optimizer, frozen=True)
    fit(model)
    remedy = "Touch only the variables that `apply` receives."
    what = "Frozen layers must keep their weights."
    assert_equal_bits(model.layers[0].weights, START[:2], what, remedy)
    what = "Beside frozen layers the others must be trained as alone."
    assert_same_run(
        model.trainable_variables, expected, what, remedy, start=START[output_layer]
    )


def two_models(make_optimizer):
    """Two instances on two models do not disturb each other."""
    optimizers = [make_optimizer(), make_optimizer()]
    expected = [
        reference_run(optimizer, gradients_of_batch)[0] for optimizer in optimizers
    ]
    both = [make_model().trainable_variables for _ in optimizers]
    for step in range(NUM_STEPS):
        for optimizer, variables in zip(optimizers, both, strict=True):
            apply_all(optimizer, variables, gradients_of_batch, [step])
    what = "Two instances on two models must not disturb each other."
    remedy = "Keep everything on the instance, nothing on the class or the module."
    for variables, run in zip(both, expected, strict=True):
        assert_same_run(variables, run, what, remedy)


def two_optimizers_on_one_model(make_optimizer):
    """Two instances in one loop, each for a layer, and under `MultiOptimizer`."""
    layers = slice(0, 2), slice(2, 4)
    what = "Two optimizers on one model must each train their variables as alone."
    remedy = "Keep everything on the instance, nothing on the class or the module."
    # Keras 3.12 does not have it.
    has_multi = hasattr(keras.optimizers, "MultiOptimizer")
    for under_one in (False, True) if has_multi else (False,):
        variables = make_model().trainable_variables
        optimizers = [make_optimizer() for _ in layers]
        expected = []
        for optimizer, layer in zip(optimizers, layers, strict=True):
            expected += reference_run(
                optimizer,
                lambda step, _, layer=layer: GRADIENTS[step][layer],
                trained=layer,
            )[0]
        if under_one:
            hidden = {variable.path for variable in variables[:2]}
            multi = keras.optimizers.MultiOptimizer(
                lambda v, pair=optimizers, hidden=hidden: pair[v.path not in hidden]
            )
            apply_all(multi, variables)
        else:
            for step in range(NUM_STEPS):
                for optimizer, layer in zip(optimizers, layers, strict=True):
                    optimizer.apply(tensors(GRADIENTS[step][layer]), variables[layer])
        assert_same_run(variables, expected, what, remedy)


EVERYWHERE = (
    fit_equals_the_rule,
    fit_with_auto_jit_equals_the_rule,
    eager_fit_equals_the_rule,
    custom_loop_equals_the_rule,
    learning_rate_schedule,
    learning_rate_assignment,
    learning_rate_callbacks,
    frozen_layers,
    two_models,
    two_optimizers_on_one_model,
)
# torch's `jit_compile=True` needs a C++ compiler and is experimental in Keras.
NOT_ON_TORCH = (fit_with_xla_equals_the_rule,)
TENSORFLOW_ONLY = (graph_loop_equals_the_rule,)


def _fit_equals_reference(make_optimizer, **compile_kwargs):
    optimizer = make_optimizer()
    expected, _ = reference_run(optimizer, gradients_of_batch)
    model = make_model(optimizer, **compile_kwargs)
    fit(model)
    settings = ", ".join(f"{k}={v!r}" for k, v in compile_kwargs.items())
    what = f"A fresh `fit` with {settings} must equal the run of the pure `update`."
    assert_same_run(model.trainable_variables, expected, what, BUILD_REMEDY)
