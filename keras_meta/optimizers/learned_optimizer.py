"""The base class: an update rule written once, run in `fit` and in meta-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_meta.optimizers import backend_variables
from keras_meta.optimizers.learned_values import LearnedValues
from keras_meta.optimizers.parameter_specs import specs_of
from keras_meta.optimizers.state_tree import flat_state, nested_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Self

    from keras_meta.optimizers.rule_types import Shapes, State, Tensor, Tensors, Theta


@keras.saving.register_keras_serializable("keras_meta")
class LearnedOptimizer(LearnedValues):
    """A Keras optimizer made of three pure functions of tensors.

    A rule overrides `initial_theta`, `initial_state` and `update`, with `keras.ops`
    only. From them this class makes a complete Keras optimizer, and
    `keras_meta.MetaTrainer` differentiates `theta` through the same `update`.

    - `theta`: what meta-learning learns, a dict from name to float32 tensor. It is
      held in optimizer variables, so a `.keras` file restores it bit for bit.
    - `state`: what one run carries along, a dict. A list holds one tensor for each
      parameter, in their order (a slot); a tensor is shared by all parameters.

    Sparse gradients are made dense. Parameters without a gradient keep their value
    and their slots; the rule sees a zero gradient for them. A rule that moves where
    the gradient is zero says so by `moves_without_gradient = True`: then rows of a
    sparse gradient that are zero keep value and state, too (not under clipping or
    accumulation, where Keras makes gradients dense first). A rule with
    `uses_loss = True` takes one more argument in `update`, `loss`: a float32 scalar,
    or None where it is not known (on the JAX and torch backends, inside other
    optimizers, with several replicas of `tf.distribute`). A loop of your own tells it
    by `optimizer.scale_loss(loss)` before `optimizer.apply(...)`.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule, or a
            callable. Multiplies the learned step. Default 1.0.
        seed: int >= 0, what `initial_theta` draws from. Default: drawn, as Keras'
            own are (`keras.utils.set_random_seed`), and kept in the config.
        preset: str or None. Where theta came from; set by `from_preset` and
            `set_theta`. An optimizer whose config names a preset refuses to step
            until its theta was loaded.
        name: str.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`,
            `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, as in every Keras
            optimizer. Weight decay shrinks a weight by
            `weight_decay * learning_rate * decay_rates(...)` a step.

    Example (one learned rate for everything):

    >>> import keras, keras_meta
    >>> class OneRate(keras_meta.LearnedOptimizer):
    ...     def initial_theta(self, shapes, seed):
    ...         return {"rate": 0.1}
    ...     def update(self, theta, state, gradients, parameters, step,
    ...                learning_rate=1.0):
    ...         rate = learning_rate * theta["rate"]
    ...         return [p - rate * g for p, g in zip(parameters, gradients)], state
    >>> w = keras.Variable([1.0, 2.0])
    >>> OneRate().apply([[1.0, 1.0]], [w])
    >>> [round(float(x), 4) for x in w.numpy()]
    [0.9, 1.9]
    """

    moves_without_gradient = False
    uses_loss = False

    # ---- the rule: overridden by subclasses -------------------------------------

    def initial_theta(self, shapes: Shapes, seed: int) -> Theta:
        """Returns what meta-learning starts from.

        Args:
            shapes: the parameters' shapes: a list of tuples, or a dict from path
                (`"dense/kernel"`) to tuple, in the order of the parameters.
            seed: int >= 0.

        Returns:
            Dict from name to float32 array. Default: nothing is learned.
        """
        return {}

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns the state before the first step: dict, see the class. Default {}.

        Args:
            theta: dict from name to float32 tensor.
            parameters: list of tensors.
        """
        return {}

    def update(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        learning_rate: Tensor = 1.0,
    ) -> tuple[Tensors, State]:
        """Computes one step; pure, differentiable, made of `keras.ops` only.

        Args:
            theta: dict from name to float32 tensor.
            state: dict, as `initial_state` returned it.
            gradients: list of tensors, float32 or float64, shaped as `parameters`.
            parameters: list of tensors, float32 or float64.
            step: int32 scalar, 0 at the first step.
            learning_rate: float32 scalar, multiplies the step.

        Returns:
            Tuple `(new_parameters, new_state)`, structured as the arguments.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override `update(theta, state, gradients, "
            "parameters, step, learning_rate)`."
        )

    def pure_step(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        decays: Sequence[bool] | None = None,
        loss: Tensor | None = None,
    ) -> tuple[Tensors, State]:
        """Computes what one `apply` does: clipping, weight decay and `update`; pure.

        It is what `keras_meta.MetaTrainer` differentiates.

        Args:
            theta: see `update`.
            state: see `update`.
            gradients: see `update`.
            parameters: see `update`.
            step: see `update`. The learning rate is the optimizer's own: its schedule
                at `step`, or its value.
            decays: list of bool, whether weight decay applies to each parameter.
                Default: to all.
            loss: float32 scalar or None, for rules with `uses_loss`.

        Returns:
            Tuple `(new_parameters, new_state)`.
        """
        rate = self._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(step)
        elif callable(rate):
            rate = rate()
        return self._decayed_update(
            theta,
            state,
            self._clip_gradients(gradients),
            parameters,
            step,
            ops.cast(rate, "float32"),
            [True] * len(parameters) if decays is None else decays,
            loss,
        )

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns, for each parameter, the size of the learned step per gradient.

        Decoupled weight decay is multiplied by it, so that `weight_decay` means the
        same under a learned rate of 0.01 as under Keras' SGD(0.01). Floats, or
        tensors that broadcast against the parameters. Default 1.0 for each.
        """
        return [1.0 for _ in parameters]

    def kept_state(self, state: State, new_state: State, present: Tensors) -> State:
        """Returns the new state, with the old one where there was no gradient; pure.

        The default keeps slots, and takes the new value of what parameters share. A
        rule that keeps its state in another layout overrides it.

        Args:
            state: dict, before `update`.
            new_state: dict, after it.
            present: list of bool tensors, shaped as the parameters: whether a
                coordinate had a gradient.
        """
        kept = dict(new_state)
        for name, value in new_state.items():
            if isinstance(value, (list, tuple)):
                kept[name] = [
                    ops.where(mask, new, ops.cast(old, new.dtype))
                    for mask, new, old in zip(present, value, state[name], strict=True)
                ]
        return kept

    def adapt_to(self, model: keras.Model, strict: bool = False) -> Self:
        """Returns a copy whose theta fits `model`'s trainable variables.

        The default serves rules whose theta does not depend on the model; others
        override it.

        Args:
            model: a built `keras.Model`.
            strict: ignored by rules whose theta does not depend on the model.

        Raises:
            ValueError: if theta depends on the model and the models differ.
        """
        copy = self._copy()
        if self.has_theta:
            theta = self.theta_values()
            copy._check_theta_fits(theta, specs_of(model.trainable_variables))
            copy.set_theta(theta, self.parameter_specs, preset=self.preset)
        return copy

    # ---- Keras' protocol --------------------------------------------------------

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """Makes the variables of theta and state for a model's variables.

        Raises:
            ValueError: if theta was learned on another architecture.
        """
        if self.built:
            return
        variables = list(variables)
        specs = specs_of(variables)
        with backend_variables.eager_scope():
            theta = self.theta_for(specs)
            state = self._starting_state(theta, variables)
        if self._restored_arrays is not None:
            arrays = [*theta.values(), *(array for _, _, array in state)]
            self._check_restored_arrays(variables, arrays)
        super().build(variables)
        self._theta_names = tuple(theta)
        self._theta_variables = tuple(
            self._add_array(array, name) for name, array in theta.items()
        )
        self._state_keys = tuple((name, index) for name, index, _ in state)
        self._state_variables = tuple(
            self._add_array(array, name if index is None else f"{name}_{index}")
            for name, index, array in state
        )
        self._specs = specs
        self._restored_arrays = None

    def scale_loss(self, loss: Tensor) -> Tensor:
        """As Keras'; a rule with `uses_loss` sees the loss at the next step."""
        if self.uses_loss:
            backend_variables.note_loss(self, loss)
        return super().scale_loss(loss)

    def _apply_weight_decay(self, variables):
        """Does nothing: `_backend_update_step` decays, scaled by `decay_rates`."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self._check_theta_is_there()
        everything = self._trainable_variables
        chosen = [self._get_variable_index(v) for v in trainable_variables]
        sparse = {
            i
            for i, gradient in zip(chosen, grads, strict=True)
            if self.moves_without_gradient and backend_variables.is_sparse(gradient)
        }
        loss = backend_variables.taken_loss(self) if self.uses_loss else None
        grads = backend_variables.sum_over_replicas(
            self,
            [backend_variables.dense_float_tensor(g) for g in grads],
            trainable_variables,
        )
        parameters = [backend_variables.dense_float_tensor(v) for v in everything]
        gradients = dict(zip(chosen, grads, strict=True))
        # Of a gradient through a loop TensorFlow may not know the shape.
        gradients = [
            ops.reshape(ops.cast(gradients[i], p.dtype), p.shape)
            if i in gradients
            else ops.zeros_like(p)
            for i, p in enumerate(parameters)
        ]
        values = [ops.convert_to_tensor(v) for v in self._theta_variables]
        theta = dict(zip(self._theta_names, values, strict=True))
        state = [ops.convert_to_tensor(v) for v in self._state_variables]
        state = nested_state(self._state_keys, state)
        old_parameters, old_state = parameters, state
        parameters, state = self._decayed_update(
            theta,
            state,
            gradients,
            parameters,
            ops.cast(self.iterations, "int32"),
            ops.cast(learning_rate, "float32"),
            [
                i in chosen and self._use_weight_decay(everything[i])
                for i in range(len(everything))
            ],
            loss,
        )
        if set(state) == set(old_state) and (sparse or len(chosen) < len(everything)):
            present = [
                backend_variables.nonzero_rows(gradients[i])
                if i in sparse
                else ops.full(p.shape, i in chosen, "bool")
                for i, p in enumerate(parameters)
            ]
            state = self.kept_state(old_state, state, present)
            for i in sparse:
                parameters[i] = ops.where(present[i], parameters[i], old_parameters[i])
        new_state = {
            (name, index): value
            for name, index, value in flat_state(state, len(everything))
        }
        if set(new_state) != set(self._state_keys):
            raise ValueError(
                f"`{type(self).__name__}.update` must return the state that it was "
                f"given, with new values. Received: {sorted({n for n, _ in new_state})}"
                f", expected {sorted({n for n, _ in self._state_keys})}."
            )
        values = [new_state[key] for key in self._state_keys]
        backend_variables.assign_all(
            self,
            [*self._state_variables, *[everything[i] for i in chosen]],
            [*values, *[parameters[i] for i in chosen]],
        )

    # ---- private ----------------------------------------------------------------

    def _decayed_update(
        self, theta, state, gradients, parameters, step, learning_rate, decays, loss
    ):
        if self.weight_decay is not None:
            rates = self.decay_rates(theta, state, parameters)
            parameters = [
                p - p * ops.cast(self.weight_decay * learning_rate * rate, p.dtype)
                if decay
                else p
                for p, rate, decay in zip(parameters, rates, decays, strict=True)
            ]
        seen = {"loss": loss} if self.uses_loss else {}
        return self.update(
            theta, state, gradients, parameters, step, learning_rate, **seen
        )
