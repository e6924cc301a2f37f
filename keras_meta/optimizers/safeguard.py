"""Any learned optimizer, watched over and pulled back towards Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_meta.optimizers import step_guard
from keras_meta.optimizers.adam import Adam
from keras_meta.optimizers.argument_checks import check_real_variables, checked_number
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer

if TYPE_CHECKING:
    from keras_meta.optimizers.rule_types import (
        LearningRate,
        Shapes,
        State,
        Tensor,
        Tensors,
        Theta,
        Variables,
    )

INNER, ADAM = "inner", "adam"


@keras.saving.register_keras_serializable("keras_meta", "Safeguarded")
class Safeguarded(LearnedOptimizer):
    """Takes a learned optimizer's steps as far as they can be trusted.

    The step is `trust * learned + (1 - trust) * Adam's`, trust in [0, 1], 1 at first.

    - A step is skipped, state and all, if a gradient, the loss or the learned step is
      not finite, or if the gradients' norm is 100 times its running mean.
    - A tensor's learned step is scaled down to `limit` times Adam's, as root mean
      square, where it is larger.
    - Trust is halved by a step that was scaled down, and when the running mean of the
      loss lies two spreads of single losses above a slower one; each step without
      trouble takes back a two-hundredth of what is missing.

    The limit is made for rules whose steps are Adam's in size. One whose healthy steps
    are more than 100 times as large, as those of learned rates on raw gradients may
    be (`MetaSGD`), is slowly replaced by Adam: watch `bounded_steps` and `trust`, and
    raise `limit`.

    Losses reach it in `fit` on the TensorFlow backend; see `LearnedOptimizer`.
    `MetaAdam` has the same guard inside. Costs Adam's two slots a weight.

    Args:
        optimizer: `LearnedOptimizer`. Its own settings (learning rate, clipping, weight
            decay) stay in force for its steps.
        learning_rate: float, schedule or callable; multiplies the whole step. Default
            1.0.
        adam_rate: float > 0, the learning rate of Adam. Default 0.001.
        limit: float > 0, how many times Adam's a tensor's step may be. Default 100.
        **kwargs: see `LearnedOptimizer`.

    Raises:
        TypeError: if `optimizer` is not a `LearnedOptimizer`.
        ValueError: if a number is out of its range.

    Example:

    >>> import keras, keras_meta
    >>> learned = keras_meta.LSTMOptimizer(weights="default")
    >>> optimizer = keras_meta.optimizers.Safeguarded(learned)
    >>> w = keras.Variable([1.0, -2.0])
    >>> optimizer.apply([[float("nan"), 0.1]], [w])
    >>> w.numpy().tolist(), optimizer.safeguard_counters["skipped_steps"]
    ([1.0, -2.0], 1)
    """

    uses_loss = True

    def __init__(
        self,
        optimizer: LearnedOptimizer,
        learning_rate: LearningRate = 1.0,
        adam_rate: float = 1e-3,
        limit: float = 100.0,
        **kwargs: Any,
    ) -> None:
        if isinstance(optimizer, dict):
            optimizer = keras.saving.deserialize_keras_object(optimizer)
        if not isinstance(optimizer, LearnedOptimizer):
            raise TypeError(
                "Argument `optimizer` must be a `keras_meta.LearnedOptimizer`, such as "
                "`keras_meta.LSTMOptimizer(weights='default')`. Received: "
                f"{type(optimizer).__name__}. Keras' own optimizers learn nothing that "
                "would have to be guarded against."
            )
        super().__init__(learning_rate=learning_rate, **kwargs)
        infinity = float("inf")
        self.optimizer = optimizer
        self.adam_rate = checked_number(
            "adam_rate", adam_rate, 0.0, infinity, low=False
        )
        self.limit = checked_number("limit", limit, 0.0, infinity, low=False)
        self._adam = Adam(seed=0)

    @property
    def moves_without_gradient(self) -> bool:
        """Whether the guarded rule moves where the gradient is zero."""
        return self.optimizer.moves_without_gradient

    @property
    def safeguard_counters(self) -> dict[str, float]:
        """What the guard did so far: see `MetaAdam.safeguard_counters`."""
        return step_guard.counters_of(self)

    def initial_theta(self, shapes: Shapes, seed: int) -> Theta:
        """Returns the guarded optimizer's theta, if it has one, or its first."""
        if self.optimizer.has_theta:
            return self.optimizer.theta_values()
        return self.optimizer.initial_theta(shapes, self.optimizer.seed)

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns the guarded optimizer's state, Adam's and the guard's."""
        state = {"guard": step_guard.initial_guard()}
        state |= _named(INNER, self.optimizer.initial_state(theta, parameters))
        return state | _named(ADAM, self._adam.initial_state({}, parameters))

    def update(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        learning_rate: Tensor = 1.0,
        loss: Tensor | None = None,
    ) -> tuple[Tensors, State]:
        """Computes one step; see `LearnedOptimizer.update`."""
        square = step_guard.square_sum(gradients)
        usual, guard = step_guard.usual_gradient(state["guard"], square, loss)
        gradients = [ops.where(usual, g, ops.zeros_like(g)) for g in gradients]
        seen = None if loss is None else ops.where(usual, loss, 0.0)
        inner, adam = _of(INNER, state), _of(ADAM, state)
        learned, new_inner = self.optimizer.pure_step(
            theta, inner, gradients, parameters, step, loss=seen
        )
        plain, new_adam = self._adam.update(
            {}, adam, gradients, parameters, step, self.adam_rate
        )
        moves = [a - p for a, p in zip(learned, parameters, strict=True)]
        plain = [a - p for a, p in zip(plain, parameters, strict=True)]
        finite = ops.isfinite(sum(ops.sum(ops.cast(m, "float32")) for m in moves))
        taken = ops.logical_and(usual, finite)
        guard = step_guard.count_skipped(guard, ops.logical_and(usual, ~finite))
        factors = [
            _bounding(move, adam, self.limit)
            for move, adam in zip(moves, plain, strict=True)
        ]
        bounded = ops.logical_and(taken, ops.min(ops.stack(factors)) < 1.0)
        rising = False
        if loss is not None:
            rising, guard = step_guard.rising_loss(guard, loss, taken)
        trust, guard = step_guard.trust_after(guard, rising, bounded)
        new = []
        for p, move, adam, factor in zip(
            parameters, moves, plain, factors, strict=True
        ):
            share = ops.cast(trust * factor, p.dtype)
            rest = ops.cast(1.0 - trust, p.dtype)
            # What is not finite must be selected away before it is multiplied.
            move = share * ops.where(taken, move, ops.zeros_like(move)) + rest * adam
            move = ops.where(taken, move, ops.zeros_like(move))
            new.append(p + ops.cast(learning_rate, p.dtype) * move)
        new_state = _named(INNER, new_inner) | _named(ADAM, new_adam)
        new_state = keras.tree.map_structure(
            lambda after, before: ops.where(
                taken, after, ops.cast(before, after.dtype)
            ),
            new_state,
            {name: state[name] for name in new_state},
        )
        new_state["guard"] = guard
        return new, {name: new_state[name] for name in state}

    def _decayed_update(self, theta, state, gradients, parameters, *args):
        # Weight decay comes before `update`: a skipped step does not decay either.
        new, new_state = super()._decayed_update(
            theta, state, gradients, parameters, *args
        )
        if self.weight_decay is None:
            return new, new_state
        return step_guard.undecayed(state, new_state, parameters, new), new_state

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns the guarded optimizer's."""
        return self.optimizer.decay_rates(theta, _of(INNER, state), parameters)

    def kept_state(self, state: State, new_state: State, present: Tensors) -> State:
        """Returns what both rules keep of weights that had no gradient."""
        kept = {"guard": new_state["guard"]}
        for name, rule in ((INNER, self.optimizer), (ADAM, self._adam)):
            kept |= _named(
                name, rule.kept_state(_of(name, state), _of(name, new_state), present)
            )
        return {name: kept[name] for name in state}

    def build(self, variables: Variables) -> None:
        """As `LearnedOptimizer`'s.

        Raises:
            ValueError: for no variables, or some that are not real numbers.
        """
        check_real_variables(variables, type(self).__name__)
        super().build(variables)

    def finalize_variable_values(self, var_list: Variables) -> None:
        """As Keras'; `fit` calls it at its end."""
        super().finalize_variable_values(var_list)
        if hasattr(self.optimizer, "tell_of_end"):
            self.optimizer.tell_of_end(self.iterations)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            {
                "optimizer": keras.saving.serialize_keras_object(self.optimizer),
                "adam_rate": self.adam_rate,
                "limit": self.limit,
            }
        )
        return config


def _bounding(move, adam, limit):
    """Returns what a tensor's step is multiplied by: 1, or less if it is too large."""
    size, usual = (
        ops.sqrt(ops.mean(ops.square(ops.cast(part, "float32"))) + 1e-30)
        for part in (move, adam)
    )
    factor = ops.minimum(limit * usual / size, 1.0)
    return ops.where(ops.isfinite(factor), factor, 0.0)


def _named(prefix, state):
    return {f"{prefix}/{name}": value for name, value in state.items()}


def _of(prefix, state):
    start = f"{prefix}/"
    return {
        name[len(start) :]: value
        for name, value in state.items()
        if name.startswith(start)
    }
