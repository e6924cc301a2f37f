"""Every check of `check_optimizer` fails on an optimizer with the fault it is for."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_meta.optimizers import SGD, MetaSGD
from keras_meta.testing import available_checks, check_optimizer

register = keras.saving.register_keras_serializable("broken")


# ---- the rule --------------------------------------------------------------------


class DrawsFromGlobalGenerator(MetaSGD):
    def initial_theta(self, shapes, seed):
        return super().initial_theta(shapes, np.random.randint(1000))


class CountsInUpdate(MetaSGD):
    calls = 0

    def update(self, theta, state, gradients, *args, **kwargs):
        self.calls += 1
        gradients = [g / self.calls for g in gradients]
        return super().update(theta, state, gradients, *args, **kwargs)


class WritesInUpdate(MetaSGD):
    def update(self, theta, state, gradients, *args, **kwargs):
        self._theta_variables[0].assign_add(gradients[0])
        return super().update(theta, state, gradients, *args, **kwargs)


class ChangesItsArguments(MetaSGD):
    def update(self, theta, *args, **kwargs):
        result = super().update(theta, *args, **kwargs)
        theta["last_call"] = 1.0
        return result


class ReturnsHalfPrecision(MetaSGD):
    def update(self, *args, **kwargs):
        parameters, state = super().update(*args, **kwargs)
        return [ops.cast(p, "float16") for p in parameters], state


class DropsState(SGD):
    def __init__(self, **kwargs):
        super().__init__(momentum=0.9, **kwargs)

    def update(self, *args, **kwargs):
        return super().update(*args, **kwargs)[0], {}


class IgnoresLearningRate(MetaSGD):
    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
        return super().update(theta, state, gradients, parameters, step)


class StopsGradients(MetaSGD):
    def update(self, theta, *args, **kwargs):
        theta = {name: ops.stop_gradient(value) for name, value in theta.items()}
        return super().update(theta, *args, **kwargs)


class StopsOneGradient(MetaSGD):
    def update(self, theta, *args, **kwargs):
        theta = {**theta, "rate/000": ops.stop_gradient(theta["rate/000"])}
        return super().update(theta, *args, **kwargs)


# ---- fit -------------------------------------------------------------------------


class AssignsInBuild(MetaSGD):
    def _add_array(self, array, name):
        variable = self.add_variable(array.shape, dtype="float32", name="theta")
        variable.assign(array)
        return variable


class KeepsFirstRate(MetaSGD):
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step(grads, trainable_variables, 0.5)


class DoublesGradients(MetaSGD):
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        grads = [2.0 * g for g in grads]
        super()._backend_update_step(grads, trainable_variables, learning_rate)


class SharesVelocity(SGD):
    shared = None

    def __init__(self, **kwargs):
        super().__init__(momentum=0.9, **kwargs)

    def build(self, variables):
        super().build(variables)
        SharesVelocity.shared = SharesVelocity.shared or self._state_variables
        self._state_variables = SharesVelocity.shared


# ---- Keras' settings -------------------------------------------------------------


class DecaysAsKeras(MetaSGD):
    def _apply_weight_decay(self, variables):
        keras.optimizers.Optimizer._apply_weight_decay(self, variables)

    def _decayed_update(self, *args):
        return self.update(*args[:6])


class DecaysEverything(MetaSGD):
    def _use_weight_decay(self, variable):
        return True


class NeverClips(MetaSGD):
    def _clip_gradients(self, grads):
        return grads


class NeverAverages(MetaSGD):
    def _update_model_variables_moving_average(self, trainable_variables):
        pass


class NeverAccumulates(MetaSGD):
    def __init__(self, gradient_accumulation_steps=None, **kwargs):
        super().__init__(**kwargs)


class NeverUnscales(MetaSGD):
    def __init__(self, loss_scale_factor=None, **kwargs):
        super().__init__(**kwargs)


# ---- gradients -------------------------------------------------------------------


class PositionIndexed(MetaSGD):
    def __init__(self, **kwargs):
        super().__init__(granularity="tensor", **kwargs)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for rate, gradient, variable in zip(
            self._theta_variables, grads, trainable_variables, strict=False
        ):
            variable.assign_sub(learning_rate * rate * gradient)


class TouchesEverything(MetaSGD):
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        for variable in self._trainable_variables:
            variable.assign(0.999 * variable)


class HidesMissingGradients(MetaSGD):
    def _filter_empty_gradients(self, grads, vars):
        kept = [i for i, g in enumerate(grads) if g is not None]
        return [grads[i] for i in kept], [vars[i] for i in kept]


class ForgetsRepeatedRows(MetaSGD):
    def apply(self, grads, trainable_variables=None):
        import tensorflow as tf

        first, *others = grads
        first = tf.tensor_scatter_nd_update(
            tf.zeros(first.dense_shape), first.indices[:, None], first.values
        )
        super().apply([first, *others], trainable_variables)


class TakesIntegers(MetaSGD):
    def __init__(self, learning_rate=1.0, **kwargs):
        super().__init__(learning_rate=float(learning_rate), **kwargs)


class FollowsThePolicy(MetaSGD):
    def _add_array(self, array, name):
        return self.add_variable(
            array.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(array, dtype),
            dtype=self._trainable_variables[0].dtype,
            name="theta",
        )


# ---- saving ----------------------------------------------------------------------


@register
class ForgetsState(SGD):
    def __init__(self, momentum=0.9, **kwargs):
        super().__init__(momentum=momentum, **kwargs)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        last = str(len(self.variables) - 1)
        value = 0.0 * store[last][...]
        del store[last]
        store[last] = value


class LoadsAsKeras(MetaSGD):
    def load_own_variables(self, store):
        keras.optimizers.Optimizer.load_own_variables(self, store)


class ForgetsSeed(MetaSGD):
    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "seed"}


class PutsArraysInConfig(MetaSGD):
    def get_config(self):
        return {**super().get_config(), "arrays": [0.125] * 1000}


class IsNotRegistered(MetaSGD):
    pass


BROKEN = {
    DrawsFromGlobalGenerator: ["initial_theta_depends_on_the_seed_only"],
    CountsInUpdate: ["update_is_pure"],
    WritesInUpdate: ["update_is_pure"],
    ChangesItsArguments: ["update_is_pure"],
    ReturnsHalfPrecision: ["update_keeps_shapes_and_dtypes"],
    DropsState: ["update_keeps_shapes_and_dtypes"],
    IgnoresLearningRate: ["learning_rate_multiplies_the_step"],
    StopsGradients: ["update_is_differentiable"],
    StopsOneGradient: ["update_is_differentiable"],
    AssignsInBuild: [
        "fit_equals_the_rule",
        "fit_with_auto_jit_equals_the_rule",
        "fit_with_xla_equals_the_rule",
        "frozen_layers",
        "settings_together_in_fit",
    ],
    KeepsFirstRate: [
        "learning_rate_schedule",
        "learning_rate_assignment",
        "learning_rate_callbacks",
    ],
    DoublesGradients: [
        "eager_fit_equals_the_rule",
        "custom_loop_equals_the_rule",
        "graph_loop_equals_the_rule",
        "loss_scale_optimizer",
    ],
    SharesVelocity: ["two_models", "two_optimizers_on_one_model"],
    DecaysAsKeras: ["weight_decay"],
    DecaysEverything: ["weight_decay"],
    NeverClips: ["clipnorm", "clipvalue", "global_clipnorm"],
    NeverAverages: ["moving_average", "moving_average_overwrites"],
    NeverAccumulates: ["gradient_accumulation"],
    NeverUnscales: ["loss_scale_factor"],
    PositionIndexed: ["missing_gradients", "subsets_in_another_order"],
    TouchesEverything: ["missing_gradients"],
    HidesMissingGradients: ["missing_gradients", "no_gradient_at_all"],
    ForgetsRepeatedRows: ["sparse_gradients"],
    TakesIntegers: ["integer_learning_rate"],
    FollowsThePolicy: ["half_precision_variables", "mixed_precision_policies"],
    ForgetsState: [
        "keras_file_continues",
        "load_weights_before_build",
        "deep_copy_continues",
    ],
    LoadsAsKeras: ["load_weights_before_build", "wrong_variables_raise"],
    ForgetsSeed: ["config_is_small_and_complete"],
    PutsArraysInConfig: ["config_is_small_and_complete"],
    IsNotRegistered: ["keras_file_continues"],
}


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
@pytest.mark.parametrize(
    ("broken", "check"),
    [(b, check) for b, checks in BROKEN.items() for check in checks],
)
def test_check_fails_on_a_broken_optimizer(broken, check):
    def make_optimizer(**kwargs):
        return broken(seed=0, **kwargs)

    SharesVelocity.shared = None
    with pytest.raises(AssertionError, match=f"Check '{check}': .* Received: .*"):
        check_optimizer(make_optimizer, [check])


def test_every_check_is_shown_to_be_able_to_fail():
    shown = {check for checks in BROKEN.values() for check in checks}
    assert shown == set(available_checks())


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        # What hides the fault from an eager test, and from one variable order.
        (AssignsInBuild, "custom_loop_equals_the_rule"),
        (AssignsInBuild, "eager_fit_equals_the_rule"),
        (PositionIndexed, "fit_equals_the_rule"),
        (SharesVelocity, "custom_loop_equals_the_rule"),
    ],
)
def test_other_checks_pass_on_a_broken_optimizer(broken, check):
    SharesVelocity.shared = None
    check_optimizer(lambda **kwargs: broken(seed=0, **kwargs), [check])


def test_message_says_what_was_received_and_what_to_do():
    with pytest.raises(AssertionError) as caught:
        check_optimizer(NeverClips, ["clipnorm"])
    message = str(caught.value)
    assert message.startswith(
        "Check 'clipnorm': `clipnorm` must clip the gradients before the rule sees "
        "them. Received: parameter 0 of shape (3, 4) is off by "
    )
    assert message.endswith(
        "Let `apply` of Keras do it; override `update`, not `apply`."
    )


def test_other_exceptions_become_assertions_with_their_cause():
    with pytest.raises(AssertionError, match="Received: TypeError: Could") as caught:
        check_optimizer(IsNotRegistered, ["keras_file_continues"])
    assert isinstance(caught.value.__cause__, TypeError)


def test_dtype_policy_is_restored_after_a_failure():
    before = keras.config.dtype_policy()
    with pytest.raises(AssertionError):
        check_optimizer(FollowsThePolicy, ["mixed_precision_policies"])
    assert keras.config.dtype_policy() == before


def test_unknown_check_raises():
    with pytest.raises(
        ValueError,
        match=r"Received: \['speed'\], which do not exist on the tensorflow backend\.",
    ):
        check_optimizer(MetaSGD, ["clipnorm", "speed"])
