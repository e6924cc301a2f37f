"""Adam whose rates a meta-learned controller sets, for each tensor at each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_meta.optimizers import (
    adam_step,
    advice,
    argument_checks,
    backend_variables,
    rate_controller,
    run_statistics,
    step_guard,
)
from keras_meta.optimizers.adam_statistics import StatisticsPlan, adam_statistics
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer
from keras_meta.optimizers.shipped_weights import shipped_preset

if TYPE_CHECKING:
    import numpy as np

    from keras_meta.optimizers.rule_types import (
        GivenTheta,
        LearningRate,
        NamedShapes,
        Shapes,
        State,
        Tensor,
        Tensors,
        Theta,
        Variables,
    )

BASE_RATE = 1e-3
WEIGHTS = {"default": "meta_adam_default"}  # to the names of shipped presets


@keras.saving.register_keras_serializable("keras_meta", "MetaAdam")
class MetaAdam(LearnedOptimizer):
    """Adam with a pretrained controller of its rates: nothing to tune.

    `w <- w - learning_rate * 0.001 * factor * m^ / (sqrt(v^) + 1e-7)`, Adam's own
    direction (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1, betas 0.9 and 0.999),
    with a factor in (1/10, 10) for each tensor at each step. A small network, the same
    for all tensors of all models, makes it of cheap statistics: how large gradient,
    momenta and weights are, how they lie to one another, the tensor's shape, the step,
    and, where they are known, the horizon and how the loss falls
    (`keras_meta.optimizers.rate_controller.NAMES`). The network was meta-learned on
    small training runs of many kinds; with its output weights zero it is exactly
    `keras.optimizers.Adam(0.001)`.

    Statistics are taken of a sample of each tensor, 8,192 weights in all, but not less
    than 256 of a tensor. The state is two slots a weight, and two of that sample.

    Args:
        learning_rate: float, schedule or callable; multiplies the learned step, which
            has Adam's 0.001 in it. A float <= 0.01 brings a warning. Default 1.0:
            nothing to tune.
        total_steps: int >= 1 or None, how many batches the run will take: rates then
            fall towards its end. With `gradient_accumulation_steps`, too, batches are
            counted. A run that goes on beyond it, such as a second `fit`, keeps its
            last rates, and says so once: when `fit` ends, or at once in an eager loop
            (in a graph loop of your own, never). Default None: not known, and no decay
            is promised.
        safeguard: bool, whether to watch over the steps. Steps whose gradient or
            loss is not finite, or whose gradient is 100 times as large as usual, are
            skipped. When the loss rises by more than two of its own recent spreads, or
            Adam's direction of a tensor is larger than 1.5 (root mean square; its rate
            is then at most Adam's), the rates go back towards Adam's, and return
            slowly. See `safeguard_counters`. Default True.
        weights: `"default"`, for the controller that ships, or None, for the one that
            is exactly Adam, which meta-training starts from. For weights of your own
            see `from_preset`.
        hidden_units: int >= 0, of the hidden layer beside a linear map. Default 16,
            which the weights that ship have.
        mixing: bool, whether the controller also mixes up to half of the gradient
            into each tensor's direction. Default False: what ships does not.
        **kwargs: see `LearnedOptimizer`. Weight decay is decoupled and multiplied by
            each tensor's rate, as AdamW's is by its learning rate.

    The loss is used where it reaches the optimizer: in `fit` on the TensorFlow
    backend; see `LearnedOptimizer`. Sparse gradients are made dense (where a row comes
    twice in a batch, `keras.optimizers.Adam` squares its parts, this one their sum).

    Raises:
        ValueError: if an argument is out of its range, or the model has no trainable
            variables, or some that are not real numbers.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0, -2.0])
    >>> optimizer = keras_meta.MetaAdam(weights=None)  # Adam
    >>> optimizer.apply([[3.0, 0.1]], [w])
    >>> [round(float(x), 4) for x in w.numpy()]
    [0.999, -2.001]
    """

    uses_loss = True

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        total_steps: int | None = None,
        safeguard: bool = True,
        weights: str | None = "default",
        hidden_units: int = 16,
        mixing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        advice.warn_of_adams_rate(learning_rate)
        if total_steps is not None:
            total_steps = argument_checks.checked_count("total_steps", total_steps)
        self.total_steps = total_steps
        self.safeguard = argument_checks.checked_flag("safeguard", safeguard)
        units = argument_checks.checked_count("hidden_units", hidden_units, 0)
        self.hidden_units = units
        self.mixing = argument_checks.checked_flag("mixing", mixing)
        self._plans = {}
        self._told_of_end = False
        preset = shipped_preset(weights, WEIGHTS, type(self).__name__)
        if preset:
            self.set_theta(preset.theta, preset=preset.source)
        self.weights = weights

    def initial_theta(self, shapes: Shapes, seed: int) -> Theta:
        """Returns the controller that is exactly Adam at 0.001."""
        return rate_controller.zero_theta(self.hidden_units, self.mixing)

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns slots, samples and running figures.

        Velocities start at 1e-30, not at 0, where a root has no derivative.
        """
        blocks = self._plan(parameters).blocks
        number, width = len(parameters), blocks.width
        state = {
            "slow_momentum": ops.zeros((number, width), "float32"),
            "start": ops.zeros((number, width), "float32"),
            "turns": ops.zeros((2, number), "float32"),
            "path": ops.zeros((number,), "float32"),
            "rates": ops.full((number,), BASE_RATE, "float32"),
            "losses": run_statistics.first_loss_state(),
        }
        if self.safeguard:
            state["guard"] = step_guard.initial_guard()
        for i, block in enumerate(blocks.join(parameters)):
            state[f"momentum_{i}"] = ops.zeros_like(block)
            state[f"velocity_{i}"] = ops.full_like(block, 1e-30)
        return state

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
        seen = (0.0 if loss is None else loss, float(loss is not None))
        horizon = (self._horizon or 1.0, float(self._horizon is not None))
        return self.controlled_update(
            theta, state, gradients, parameters, step, learning_rate, seen, horizon
        )

    def controlled_update(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        learning_rate: Tensor,
        loss: tuple[Tensor, Tensor],
        horizon: tuple[Tensor, Tensor],
    ) -> tuple[Tensors, State]:
        """As `update`, with a loss and a horizon that may be masked.

        Meta-training masks them in part of its runs.

        Args:
            theta, state, gradients, parameters, step, learning_rate: see `update`.
            loss, horizon: pairs `(value, known)` of float32 scalars; where `known` is
                0, the value is not used.

        Returns:
            Tuple `(new_parameters, new_state)`.
        """
        count = ops.cast(step, "float32") + 1.0
        loss = tuple(ops.cast(part, "float32") for part in loss)
        horizon = tuple(ops.cast(part, "float32") for part in horizon)
        plan = self._plan(parameters)
        joined, usual = plan.blocks.join(gradients), None
        if self.safeguard:
            known = ops.where(loss[1] > 0.0, loss[0], 0.0)
            usual, guard = step_guard.usual_gradient(
                state["guard"], step_guard.square_sum(joined), known
            )
            # Of a skipped step nothing may come through, not even as 0 times NaN.
            joined = [ops.where(usual, g, ops.zeros((), g.dtype)) for g in joined]
        old = [
            [state[f"{name}_{i}"] for i in range(len(joined))]
            for name in ("momentum", "velocity")
        ]
        statistics, seen, sizes = adam_statistics(
            plan, old, joined, parameters, state, count, loss, horizon
        )
        log_rates = rate_controller.log_rates(theta, statistics)
        if self.safeguard:
            log_rates, seen["guard"] = step_guard.held(guard, sizes, log_rates, loss)
        # No distrust gives up the fall towards a known end.
        log_rates = log_rates + rate_controller.log_decay(theta, count, *horizon)
        rates = BASE_RATE * ops.exp(log_rates)
        factors = ops.cast(learning_rate, "float32") * rates
        if self.safeguard:
            finite = ops.isfinite(ops.sum(factors))
            lost = ops.logical_and(usual, ops.logical_not(finite))
            guard = step_guard.count_skipped(guard, lost)
            usual = ops.logical_and(usual, finite)
            factors = ops.where(usual, factors, ops.zeros_like(factors))
        # After the statistics: XLA then needs no copies of the old averages.
        means, squares = adam_step.averages(joined, old, usual)
        shares = rate_controller.mixtures(theta, statistics) if self.mixing else None
        moves = adam_step.moves(
            plan.blocks, joined, means, squares, factors, count, shares
        )
        new = [p - move for p, move in zip(parameters, moves, strict=True)]
        new_state = {**seen, "path": state["path"] + factors * sizes, "rates": rates}
        if usual is not None:
            old_state = {**state, "guard": guard}
            for name, value in new_state.items():
                new_state[name] = ops.where(usual, value, old_state[name])
        for i, (mean, square) in enumerate(zip(means, squares, strict=True)):
            new_state |= {f"momentum_{i}": mean, f"velocity_{i}": square}
        return new, {**state, **new_state}

    def _decayed_update(self, theta, state, gradients, parameters, *args):
        # Weight decay comes before `update`: a skipped step does not decay either.
        new, new_state = super()._decayed_update(
            theta, state, gradients, parameters, *args
        )
        if self.weight_decay is None or not self.safeguard:
            return new, new_state
        return step_guard.undecayed(state, new_state, parameters, new), new_state

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns each tensor's rate in the step before."""
        return ops.unstack(state["rates"], len(parameters))

    def kept_state(self, state: State, new_state: State, present: Tensors) -> State:
        """Returns the new state, but old slots of weights that had no gradient."""
        blocks = self._plan(present).blocks
        return adam_step.kept_slots(blocks, state, new_state, present)

    @property
    def safeguard_counters(self) -> dict[str, float]:
        """What the safeguard did so far.

        A dict: `trust`, float in [0, 1], how far the learned rates are followed now;
        `skipped_steps`, `loss_rises`, `bounded_steps`, ints. Empty before the first
        step and with `safeguard=False`.
        """
        return step_guard.counters_of(self)

    @property
    def rates(self) -> np.ndarray | None:
        """float32 array: each trainable variable's rate at the last step.

        Before `learning_rate`, which multiplies it. None before the first step.
        """
        variables = zip(self._state_keys, self._state_variables, strict=True)
        found = dict(variables).get(("rates", None))
        return None if found is None else ops.convert_to_numpy(found)

    def build(self, variables: Variables) -> None:
        """As `LearnedOptimizer`'s.

        Raises:
            ValueError: for no variables, or some that are not real numbers.
        """
        argument_checks.check_real_variables(variables, type(self).__name__)
        super().build(variables)

    def set_theta(
        self,
        theta: GivenTheta,
        parameters: NamedShapes | None = None,
        preset: str | None = None,
    ) -> None:
        """As `LearnedOptimizer`'s; it must be a controller of this kind.

        Raises:
            ValueError: for a theta of other names or shapes.
        """
        rate_controller.check_theta(theta, self.hidden_units, self.mixing)
        super().set_theta(theta, parameters, preset)
        self.weights = None

    def finalize_variable_values(self, var_list: Variables) -> None:
        """As Keras'; `fit` calls it at its end."""
        super().finalize_variable_values(var_list)
        self.tell_of_end(self.iterations)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("total_steps", "safeguard", "weights", "hidden_units", "mixing"):
            config[name] = getattr(self, name)
        return config

    def _backend_update_step(self, *args):
        super()._backend_update_step(*args)
        if backend_variables.is_eager(self.iterations):
            self.tell_of_end(self.iterations + 1)

    def tell_of_end(self, steps: Tensor) -> None:
        """Warns, once, if a run of so many steps has outrun its horizon."""
        if self.total_steps is None or self._told_of_end:
            return
        step = int(ops.convert_to_numpy(steps))
        if step > math.ceil(self._horizon):
            self._told_of_end = True
            advice.warn_of_end(self.total_steps, step)

    @property
    def _horizon(self):
        """The number of updates in `total_steps` batches, a float, or None."""
        if self.total_steps is None:
            return None
        return self.total_steps / (self.gradient_accumulation_steps or 1)

    def _plan(self, parameters):
        shapes = tuple(tuple(p.shape) for p in parameters)
        if shapes not in self._plans:
            self._plans[shapes] = StatisticsPlan(shapes)
        return self._plans[shapes]


# So that `compile(optimizer="meta_adam")` works as "adam" does.
keras.saving.get_custom_objects()["meta_adam"] = MetaAdam
