"""What an optimizer has learned: how it is given, kept, saved and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_meta import presets
from keras_meta.optimizers import backend_variables
from keras_meta.optimizers.parameter_specs import ParameterSpec
from keras_meta.optimizers.seeds import checked_seed, draw_seed
from keras_meta.optimizers.state_tree import flat_state

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike
    from typing_extensions import Self

    from keras_meta.optimizers.rule_types import (
        GivenTheta,
        LearningRate,
        NamedShapes,
        Specs,
    )


class LearnedValues(keras.optimizers.Optimizer):
    """Holds theta and the state of a `LearnedOptimizer` in optimizer variables.

    The base of `LearnedOptimizer`, which says what the arguments mean and calls
    these methods from Keras' `build`.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        seed: int | None = None,
        preset: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.seed = draw_seed() if seed is None else checked_seed(seed)
        self.preset = preset
        self._given_theta = None  # ((name, array), ...) before `build`
        self._given_parameters = None  # (ParameterSpec, ...) theta was learned on
        self._restored_arrays = None  # arrays waiting for `add_variable`
        self._theta_is_missing = preset is not None
        self._theta_names = ()
        self._theta_variables = ()
        self._state_keys = ()  # ((name, index of the parameter or None), ...)
        self._state_variables = ()
        self._specs = ()

    @classmethod
    def from_preset(cls, name_or_path: str | os.PathLike, **overrides: Any) -> Self:
        """Returns an optimizer with the theta of a preset.

        Args:
            name_or_path: a name of `keras_meta.list_presets()`, or a `.kmeta` file.
            **overrides: constructor arguments that replace the preset's.

        Raises:
            PresetError: if the file is missing, damaged or not a preset.
            ValueError: if the preset holds another class of optimizer.
        """
        overrides.setdefault("preset", str(name_or_path))
        optimizer = presets.load(name_or_path).optimizer(**overrides)
        if not isinstance(optimizer, cls):
            raise ValueError(
                f"Preset {str(name_or_path)!r} holds a "
                f"`{type(optimizer).__name__}`, not a `{cls.__name__}`. "
                f"Call `{type(optimizer).__name__}.from_preset(...)`."
            )
        return optimizer

    @property
    def has_theta(self) -> bool:
        """Whether theta exists already: given, loaded or built."""
        return self.built or self._given_theta is not None

    @property
    def parameter_specs(self) -> tuple[ParameterSpec, ...]:
        """`(path, shape)` of each parameter theta belongs to; () if not known."""
        return self._specs if self.built else (self._given_parameters or ())

    def theta_values(self) -> dict[str, np.ndarray]:
        """Returns theta as a dict from name to float32 NumPy array."""
        if self.built:
            return {
                name: ops.convert_to_numpy(variable)
                for name, variable in zip(
                    self._theta_names, self._theta_variables, strict=True
                )
            }
        if self._given_theta is None:
            raise ValueError(
                f"This {type(self).__name__} has no theta yet. Build it on a model's "
                "variables (`optimizer.build(model.trainable_variables)`), or load "
                "one (`from_preset`, `set_theta`)."
            )
        return {name: array.copy() for name, array in self._given_theta}

    def theta_for(self, specs: Specs) -> dict[str, np.ndarray]:
        """Returns theta for parameters of these specs, the learned one if there is.

        Args:
            specs: list of `(path, shape)`.

        Returns:
            Dict from name to float32 NumPy array.

        Raises:
            ValueError: if the learned theta belongs to another architecture.
        """
        initial = self._initial_theta_arrays(specs)
        if not self.has_theta:
            return initial
        theta = self.theta_values()
        self._check_theta_fits(theta, specs, initial)
        return {name: theta[name] for name in initial}

    def set_theta(
        self,
        theta: GivenTheta,
        parameters: NamedShapes | None = None,
        preset: str | None = None,
    ) -> None:
        """Gives the optimizer a learned theta; all of it or nothing.

        If the optimizer is built, its state starts again from that theta.

        Args:
            theta: dict from name to float array, as `initial_theta` names them.
            parameters: the `(path, shape)` of the parameters it was learned on, or
                None if unknown (`adapt_to` then matches by shape only).
            preset: str, where it came from, for messages. Default: what the
                optimizer's `preset` says already.

        Raises:
            ValueError: for names or shapes that do not fit, or values that are not
                finite.
        """
        arrays = {}
        for name, value in theta.items():
            array = np.array(value, dtype="float32")
            if not np.isfinite(array).all():
                raise ValueError(
                    f"theta[{name!r}] must be finite. Received: "
                    f"{np.count_nonzero(~np.isfinite(array))} values that are NaN "
                    "or infinite."
                )
            arrays[str(name)] = array
        if self.built:
            self._check_theta_fits(arrays, self._specs)
            for name, variable in zip(
                self._theta_names, self._theta_variables, strict=True
            ):
                variable.assign(arrays[name])
            state = self._starting_state(arrays, self._trainable_variables)
            for variable, (_, _, value) in zip(
                self._state_variables, state, strict=True
            ):
                variable.assign(value)
        self._given_theta = tuple(arrays.items())
        if parameters is not None:
            self._given_parameters = tuple(
                ParameterSpec(str(path), tuple(int(n) for n in shape))
                for path, shape in parameters
            )
        if arrays:
            self.preset = preset or self.preset or "set_theta"
        self._theta_is_missing = False

    def add_variable(
        self, shape: Sequence[int], initializer: Any = "zeros", **kwargs: Any
    ) -> keras.Variable:
        """As Keras'; a value that was loaded before `build` goes to its variable."""
        if self._restored_arrays:
            initializer = backend_variables.initializer_of(self._restored_arrays[0])
            self._restored_arrays = self._restored_arrays[1:]
        return super().add_variable(shape, initializer=initializer, **kwargs)

    def load_own_variables(self, store: Mapping[str, ArrayLike]) -> None:
        """Restores every variable, or raises; before `build` the values wait for it.

        What was saved before its first step holds no theta: it loads nothing but the
        step counter and the learning rate.

        Raises:
            ValueError: if the number of variables or a shape differs; for an
                optimizer that is not built, `build` raises it. (Keras' optimizers
                warn, and go on untrained.)
        """
        arrays = [np.asarray(store[str(i)]) for i in range(len(store.keys()))]
        variables = self.variables
        num_always = 1 + isinstance(self._learning_rate, keras.Variable)
        was_built = len(arrays) != num_always or arrays[0] > 0  # 0: iterations
        if not was_built:
            variables = variables[:num_always]
        if len(arrays) < len(variables) or (
            self.built and len(arrays) != len(variables)
        ):
            raise ValueError(_count_message(self, len(arrays) - len(variables)))
        for variable, array in zip(variables, arrays, strict=False):
            _check_stored_shape(variable.path, variable.shape, array)
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        if was_built:
            if not self.built:
                self._restored_arrays = tuple(arrays[len(variables) :])
            self._theta_is_missing = False

    def set_weights(self, weights: Sequence[Any]) -> None:
        """As Keras', but a wrong number raises; counts as loading theta."""
        if self.built and len(weights) != len(self.variables):
            raise ValueError(_count_message(self, len(weights) - len(self.variables)))
        super().set_weights(weights)
        self._theta_is_missing = False

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update({"seed": self.seed, "preset": self.preset})
        return config

    def _add_array(self, array, name):
        return self.add_variable(
            shape=array.shape,
            initializer=backend_variables.initializer_of(array),
            dtype="float32",
            name=name.replace("/", "_"),
        )

    def _check_restored_arrays(self, variables, arrays):
        """Raises unless what was loaded fits the variables that `build` will make."""
        expected = []  # in the order in which Keras' `build` makes them
        if self.use_ema:
            expected += [
                v for v in variables if not self._overwrite_variable_with_gradient(v)
            ]
        if self.gradient_accumulation_steps:
            expected += variables
        expected += arrays
        restored = self._restored_arrays
        if len(restored) != len(expected):
            raise ValueError(_count_message(self, len(restored) - len(expected)))
        for index, (value, array) in enumerate(zip(expected, restored, strict=True)):
            _check_stored_shape(f"variable {index}", value.shape, array)

    def _starting_state(self, theta, variables):
        """Returns `[(name, index of the parameter or None, array), ...]`."""
        state = self.initial_state(
            {name: ops.convert_to_tensor(array) for name, array in theta.items()},
            [backend_variables.dense_float_tensor(v) for v in variables],
        )
        return [
            (name, index, ops.convert_to_numpy(value))
            for name, index, value in flat_state(state, len(variables))
        ]

    def _initial_theta_arrays(self, specs):
        shapes = {spec.path: spec.shape for spec in specs}
        theta = self.initial_theta(shapes, self.seed)
        return {str(k): np.asarray(v, dtype="float32") for k, v in theta.items()}

    def _check_theta_fits(self, theta, specs, initial=None):
        initial = initial or self._initial_theta_arrays(specs)
        expected = {name: array.shape for name, array in initial.items()}
        received = {name: array.shape for name, array in theta.items()}
        if expected == received:
            return
        learned_on = [f"{s.path} {s.shape}" for s in self._given_parameters or ()]
        raise ValueError(
            f"The learned values of this {type(self).__name__} belong to another "
            f"architecture. Expected for this model: {_shown(expected)}. "
            f"Received: {_shown(received)}"
            + (f", learned on {learned_on[:6]}" if learned_on else "")
            + ". Call `optimizer.adapt_to(model)` to fit them to this model, and "
            "compile with the optimizer that it returns."
        )

    def _check_theta_is_there(self):
        if self._theta_is_missing and self._theta_names:
            raise RuntimeError(
                f"This {type(self).__name__} was rebuilt from its config, which names "
                f"preset {self.preset!r} but does not hold its learned values, and "
                "nothing was loaded since. Load the `.keras` file or the weights it "
                "was saved with, or make a new one with "
                f"`{type(self).__name__}.from_preset(...)`."
            )

    def _copy(self):
        return type(self).from_config({**self.get_config(), "preset": None})


def _check_stored_shape(name, shape, array):
    if tuple(shape) != array.shape:
        raise ValueError(
            f"Stored optimizer variable for {name!r} has another shape. Received: "
            f"{array.shape}, expected {tuple(shape)}. Load it into the model it was "
            "saved from; for another model use `adapt_to(model)`."
        )


def _count_message(optimizer, surplus):
    return (
        f"The stored {type(optimizer).__name__} has {abs(surplus)} variables "
        f"{'more' if surplus > 0 else 'fewer'} than this one. Nothing was loaded "
        "into the optimizer: load it into the model it was saved from, with the "
        "same optimizer settings; for another model use `adapt_to(model)`."
    )


def _shown(shapes):
    items = [f"{name} {shape}" for name, shape in shapes.items()]
    more = f", ... ({len(items)} in all)" if len(items) > 6 else ""
    return "[" + ", ".join(items[:6]) + more + "]"
