"""Checks of Keras' own settings: decay, clipping, averages, accumulation, scaling."""

import numpy as np

from keras_meta.testing.optimizer_problem import (
    GRADIENTS,
    NUM_STEPS,
    START,
    apply_all,
    arrays_of,
    assert_equal_bits,
    assert_same_run,
    fail,
    fit,
    fixed_gradients,
    gradients_of_batch,
    make_model,
    reference_run,
)

CLIP = 0.5  # the gradients' entries are about 1, their norms 1 to 4
KERAS_REMEDY = "Let `apply` of Keras do it; override `update`, not `apply`."


def weight_decay(make_optimizer):
    """`w -= w * weight_decay * learning_rate * decay_rates`, but for the excluded."""
    what = "`weight_decay` must be scaled by `learning_rate * decay_rates(...)`."
    remedy = (
        "Return from `decay_rates` the step per gradient, and leave "
        "`_apply_weight_decay` alone."
    )
    for excluded, decayed in (([], (0, 1, 2, 3)), (["bias"], (0, 2))):
        optimizer = make_optimizer(weight_decay=0.8, learning_rate=0.5)
        if excluded:
            optimizer.exclude_from_weight_decay(var_names=excluded)
            what = "`exclude_from_weight_decay` must exclude."
        expected, _ = reference_run(optimizer, decayed=decayed)
        plain, _ = reference_run(optimizer)
        variables = make_model().trainable_variables
        apply_all(optimizer, variables)
        # Measured against the run without decay: that is what decay changes.
        assert_same_run(variables, expected, what, remedy, start=plain)


def clipnorm(make_optimizer):
    """Each gradient's norm is clipped."""

    def clip(gradients):
        return [g * min(1.0, CLIP / np.linalg.norm(g)) for g in gradients]

    _clips(make_optimizer, "clipnorm", clip)


def clipvalue(make_optimizer):
    """Each entry of a gradient is clipped."""

    def clip(gradients):
        return [np.clip(g, -CLIP, CLIP) for g in gradients]

    _clips(make_optimizer, "clipvalue", clip)


def global_clipnorm(make_optimizer):
    """The norm of all gradients together is clipped."""

    def clip(gradients):
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        return [g * min(1.0, CLIP / norm) for g in gradients]

    _clips(make_optimizer, "global_clipnorm", clip)


def moving_average(make_optimizer):
    """With `use_ema`, `finalize_variable_values` leaves the weights' average."""
    optimizer = make_optimizer(use_ema=True, ema_momentum=0.6)
    averages = []

    def average(step, parameters):
        averages[:] = [
            0.6 * a + 0.4 * p
            for a, p in zip(averages or parameters, parameters, strict=True)
        ]
        return parameters

    plain, _ = reference_run(optimizer, after_step=average)
    variables = make_model().trainable_variables
    apply_all(optimizer, variables)
    what = "`use_ema` must leave the steps alone."
    assert_same_run(variables, plain, what, KERAS_REMEDY)
    optimizer.finalize_variable_values(variables)
    what = "`use_ema` must average the weights."
    assert_same_run(variables, averages, what, KERAS_REMEDY)


def moving_average_overwrites(make_optimizer):
    """Every `ema_overwrite_frequency` steps the average replaces the weights."""
    optimizer = make_optimizer(
        use_ema=True, ema_momentum=0.6, ema_overwrite_frequency=2
    )
    averages = []

    def overwrite(step, parameters):
        averages[:] = [
            0.6 * a + 0.4 * p
            for a, p in zip(averages or parameters, parameters, strict=True)
        ]
        return list(averages) if step % 2 else parameters

    expected, _ = reference_run(optimizer, after_step=overwrite)
    variables = make_model().trainable_variables
    apply_all(optimizer, variables)
    what = "`ema_overwrite_frequency` must replace the weights by their average."
    assert_same_run(variables, expected, what, KERAS_REMEDY)


def gradient_accumulation(make_optimizer):
    """Two gradients, one step with their mean; nothing moves in between."""
    optimizer = make_optimizer(gradient_accumulation_steps=2)
    expected, _ = reference_run(
        optimizer,
        lambda step, _: [
            (a + b) / 2.0
            for a, b in zip(GRADIENTS[2 * step], GRADIENTS[2 * step + 1], strict=True)
        ],
        num_steps=NUM_STEPS // 2,
    )
    variables = make_model().trainable_variables
    optimizer.build(variables)
    before = arrays_of(optimizer._state_variables)
    apply_all(optimizer, variables, steps=range(1))
    what = "While gradients accumulate, weights and state must stay."
    assert_equal_bits(variables, START, what, KERAS_REMEDY)
    assert_equal_bits(optimizer._state_variables, before, what, KERAS_REMEDY)
    apply_all(optimizer, variables, steps=range(1, NUM_STEPS))
    what = "`gradient_accumulation_steps` must step with the mean of the gradients."
    assert_same_run(variables, expected, what, KERAS_REMEDY)


def loss_scale_factor(make_optimizer):
    """Gradients of a scaled loss are scaled back."""
    optimizer = make_optimizer(loss_scale_factor=64.0)
    expected, _ = reference_run(optimizer)
    variables = make_model().trainable_variables
    apply_all(optimizer, variables, lambda step, _: [64.0 * g for g in GRADIENTS[step]])
    what = "`loss_scale_factor` must be divided out of the gradients."
    assert_same_run(variables, expected, what, KERAS_REMEDY)
    scaled = float(np.asarray(optimizer.scale_loss(2.0)))
    if scaled != 128.0:
        fail("`scale_loss` must scale.", f"{scaled} for 64 * 2.", KERAS_REMEDY)


def settings_together_in_fit(make_optimizer):
    """A schedule, decay, clipping, accumulation and averages in a compiled `fit`."""
    from keras.optimizers.schedules import PiecewiseConstantDecay

    optimizer = make_optimizer(
        learning_rate=PiecewiseConstantDecay([1], [0.5, 0.25]),
        weight_decay=0.3,
        clipvalue=0.2,
        gradient_accumulation_steps=2,
        loss_scale_factor=8.0,
    )

    def mean_of_two_batches(step, parameters):
        pair = [gradients_of_batch(2 * step + i, parameters) for i in range(2)]
        return [np.clip((a + b) / 2.0, -0.2, 0.2) for a, b in zip(*pair, strict=True)]

    # Keras reads a schedule at the count of batches: 1 and 3 at the two steps.
    expected, _ = reference_run(
        optimizer,
        mean_of_two_batches,
        num_steps=2,
        learning_rates=[0.5, 0.25],
        decayed=range(4),
    )
    model = make_model(optimizer)
    fit(model)
    what = "Keras' settings together must work in a compiled `fit`."
    assert_same_run(model.trainable_variables, expected, what, KERAS_REMEDY)


CHECKS = (
    weight_decay,
    clipnorm,
    clipvalue,
    global_clipnorm,
    moving_average,
    moving_average_overwrites,
    gradient_accumulation,
    loss_scale_factor,
    settings_together_in_fit,
)


def _clips(make_optimizer, argument, clip):
    optimizer = make_optimizer(**{argument: CLIP})
    expected, _ = reference_run(
        optimizer, lambda step, parameters: clip(fixed_gradients(step, parameters))
    )
    variables = make_model().trainable_variables
    apply_all(optimizer, variables)
    what = f"`{argument}` must clip the gradients before the rule sees them."
    assert_same_run(variables, expected, what, KERAS_REMEDY)
