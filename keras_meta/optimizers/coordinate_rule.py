"""The base of rules that treat every weight of a model alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from keras_meta.optimizers.argument_checks import checked_count
from keras_meta.optimizers.coordinates import Coordinates
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer

if TYPE_CHECKING:
    import numpy as np

    from keras_meta.optimizers.rule_types import (
        GivenTheta,
        NamedShapes,
        Shapes,
        State,
        Tensor,
        Tensors,
        Theta,
    )

COUNTER = "skipped_steps"


class CoordinateRule(LearnedOptimizer):
    """A rule with one theta for all weights, and a state for each weight.

    A subclass writes `theta_arrays`, `coordinate_state` and `coordinate_step`; this
    class puts all of a model's weights in one row and through one call, in chunks
    where there are more than `chunk_size`. A step whose gradient is not finite is
    skipped, state and all, and counted in `skipped_steps`.

    Args:
        chunk_size: int >= 1.
        **kwargs: see `LearnedOptimizer`.
    """

    moves_without_gradient = True
    reads_parameters = False  # whether `coordinate_step` is given them

    def __init__(self, chunk_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk_size = checked_count("chunk_size", chunk_size)

    # ---- overridden by subclasses -------------------------------------------------

    def theta_arrays(self, seed: int) -> dict[str, np.ndarray]:
        """Returns theta before meta-learning, a dict of float32 arrays."""
        raise NotImplementedError

    def coordinate_state(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """Returns a dict from name to the pair (shape for one weight, start value)."""
        raise NotImplementedError

    def coordinate_step(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        loss: Tensor | None,
    ) -> tuple[Tensor, State]:
        """Computes the moves of a row of weights.

        Args:
            theta: dict from name to float32 tensor.
            state: dict of float32 `(weights, ...)`.
            gradients: float32 `(weights,)`, finite.
            parameters: float32 `(weights,)`, or None unless `reads_parameters`.
            step: int32 scalar.
            loss: float32 scalar, or None unless `uses_loss`.

        Returns:
            Tuple `(moves, state)`: float32 `(weights,)`, and the new state.
        """
        raise NotImplementedError

    # ---- the rule -----------------------------------------------------------------

    @property
    def skipped_steps(self) -> int:
        """int, how many steps were skipped because their gradient was not finite."""
        values = dict(zip(self._state_keys, self._state_variables, strict=True))
        counter = values.get((COUNTER, None))
        return 0 if counter is None else int(ops.convert_to_numpy(counter))

    def initial_theta(self, shapes: Shapes, seed: int) -> Theta:
        """Returns `theta_arrays(seed)`, whatever the model."""
        return self.theta_arrays(seed)

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns the state of every weight, and the counter of skipped steps."""
        layout = self._layout(parameters)
        state = {COUNTER: ops.zeros((), "float32")}
        for name, (shape, value) in self.coordinate_state().items():
            state[name] = ops.full((*layout.shape, *shape), value, "float32")
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
        layout = self._layout(parameters)
        row = layout.row([ops.cast(g, "float32") for g in gradients])
        finite = ops.all(ops.isfinite(row))
        if loss is not None:
            finite = ops.logical_and(finite, ops.isfinite(loss))
            loss = ops.where(finite, loss, 0.0)
        # Zeros in its place: what is selected away must have a finite derivative.
        values = {"gradients": ops.where(finite, row, ops.zeros_like(row))}
        if self.reads_parameters:
            values["parameters"] = layout.row(
                [ops.cast(p, "float32") for p in parameters]
            )

        def of_chunk(values):
            values = dict(values)
            gradients = values.pop("gradients")
            own = values.pop("parameters", None)
            moves, new = self.coordinate_step(theta, values, gradients, own, step, loss)
            new = {name: ops.where(finite, new[name], values[name]) for name in new}
            return {"moves": ops.where(finite, moves, 0.0), **new}

        state = dict(state)
        skipped = state.pop(COUNTER)
        new_state = layout.map(of_chunk, {**values, **state})
        moves = layout.tensors(new_state.pop("moves"))
        new_parameters = [
            p + ops.cast(learning_rate * move, p.dtype)
            for p, move in zip(parameters, moves, strict=True)
        ]
        counted = skipped + ops.where(finite, 0.0, 1.0)
        return new_parameters, {COUNTER: counted, **new_state}

    def _decayed_update(self, theta, state, gradients, parameters, *args):
        # Weight decay comes before `update`: a skipped step does not decay either.
        new, new_state = super()._decayed_update(
            theta, state, gradients, parameters, *args
        )
        taken = new_state[COUNTER] == state[COUNTER]
        kept = [
            ops.where(taken, after, before)
            for after, before in zip(new, parameters, strict=True)
        ]
        return kept, new_state

    def kept_state(self, state: State, new_state: State, present: Tensors) -> State:
        """Returns the new state, but the old of weights that had no gradient."""
        layout = self._layout(present)
        mask = layout.row([ops.cast(p, "float32") for p in present]) > 0.5
        kept = {COUNTER: new_state[COUNTER]}
        for name, (shape, _) in self.coordinate_state().items():
            wide = ops.reshape(mask, (*layout.shape, *[1] * len(shape)))
            kept[name] = ops.where(wide, new_state[name], state[name])
        return kept

    def set_theta(
        self,
        theta: GivenTheta,
        parameters: NamedShapes | None = None,
        preset: str | None = None,
    ) -> None:
        """As `LearnedOptimizer.set_theta`; the sizes must be this optimizer's.

        Raises:
            ValueError: for weights of another size, or not finite.
        """
        expected = {name: a.shape for name, a in self.theta_arrays(0).items()}
        received = {str(name): tuple(ops.shape(value)) for name, value in theta.items()}
        differing = sorted(
            name
            for name in expected.keys() | received.keys()
            if expected.get(name) != received.get(name)
        )
        if differing:
            name = differing[0]
            raise ValueError(
                f"These weights belong to a {type(self).__name__} of another size or "
                f"with other inputs. Received: {name} "
                f"{received.get(name, 'missing')}, expected "
                f"{expected.get(name, 'none')}. Leave the arguments that give its size "
                "as the preset has them."
            )
        super().set_theta(theta, parameters, preset)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "chunk_size": self.chunk_size}

    def _layout(self, parameters):
        return Coordinates([p.shape for p in parameters], self.chunk_size)
