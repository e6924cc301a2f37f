"""The base class: an update rule written once, run in `fit` and in meta-training."""

import keras
import numpy as np
from keras import ops

from keras_meta import presets
from keras_meta.optimizers import backend_variables
from keras_meta.optimizers.parameter_specs import ParameterSpec, specs_of
from keras_meta.optimizers.state_tree import flat_state, nested_state


@keras.saving.register_keras_serializable("keras_meta")
class LearnedOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer made of three pure functions of tensors.

    A rule overrides `initial_theta`, `initial_state` and `update`, with `keras.ops`
    only. From them this class makes a complete Keras optimizer, and
    `keras_meta.MetaTrainer` differentiates `theta` through the same `update`.

    - `theta`: what meta-learning learns, a dict from name to float32 tensor. It is
      held in optimizer variables, so a `.keras` file restores it bit for bit.
    - `state`: what one run carries along, a dict. A list holds one tensor for each
      parameter, in their order (a slot); a tensor is shared by all parameters.

    Sparse gradients are made dense. Parameters without a gradient keep their value
    and their slots; the rule sees a zero gradient for them.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule, or a
            callable. Multiplies the learned step. Default 1.0.
        seed: int >= 0, what `initial_theta` draws from. Default: drawn anew, and
            kept in the config.
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

    def __init__(self, learning_rate=1.0, seed=None, preset=None, name=None, **kwargs):
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

    # ---- the rule: overridden by subclasses -------------------------------------

    def initial_theta(self, shapes, seed):
        """Returns what meta-learning starts from.

        Args:
            shapes: the parameters' shapes: a list of tuples, or a dict from path
                (`"dense/kernel"`) to tuple, in the order of the parameters.
            seed: int >= 0.

        Returns:
            Dict from name to float32 array. Default: nothing is learned.
        """
        return {}

    def initial_state(self, theta, parameters):
        """Returns the state before the first step: dict, see the class. Default {}.

        Args:
            theta: dict from name to float32 tensor.
            parameters: list of tensors.
        """
        return {}

    def update(self, theta, state, gradients, parameters, step, learning_rate=1.0):
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

    def pure_step(self, theta, state, gradients, parameters, step, decays=None):
        """Computes what one `apply` does: clipping, weight decay and `update`; pure.

        It is what `keras_meta.MetaTrainer` differentiates.

        Args:
            theta, state, gradients, parameters, step: see `update`. The learning
                rate is the optimizer's own: its schedule at `step`, or its value.
            decays: list of bool, whether weight decay applies to each parameter.
                Default: to all.

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
        )

    def decay_rates(self, theta, state, parameters):
        """Returns, for each parameter, the size of the learned step per gradient.

        Decoupled weight decay is multiplied by it, so that `weight_decay` means the
        same under a learned rate of 0.01 as under Keras' SGD(0.01). Floats, or
        tensors that broadcast against the parameters. Default 1.0 for each.
        """
        return [1.0 for _ in parameters]

    def adapt_to(self, model, strict=False):
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

    # ---- theta ------------------------------------------------------------------

    @classmethod
    def from_preset(cls, name_or_path, **overrides):
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
    def has_theta(self):
        """Whether theta exists already: given, loaded or built."""
        return self.built or self._given_theta is not None

    @property
    def parameter_specs(self):
        """`(path, shape)` of each parameter theta belongs to; () if not known."""
        return self._specs if self.built else (self._given_parameters or ())

    def theta_values(self):
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

    def theta_for(self, specs):
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

    def set_theta(self, theta, parameters=None, preset=None):
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

    # ---- Keras' protocol --------------------------------------------------------

    def build(self, variables):
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

    def add_variable(self, shape, initializer="zeros", **kwargs):
        """As Keras'; a value that was loaded before `build` goes to its variable."""
        if self._restored_arrays:
            initializer = backend_variables.initializer_of(self._restored_arrays[0])
            self._restored_arrays = self._restored_arrays[1:]
        return super().add_variable(shape, initializer=initializer, **kwargs)

    def load_own_variables(self, store):
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

    def set_weights(self, weights):
        """As Keras', but a wrong number raises; counts as loading theta."""
        if self.built and len(weights) != len(self.variables):
            raise ValueError(_count_message(self, len(weights) - len(self.variables)))
        super().set_weights(weights)
        self._theta_is_missing = False

    def get_config(self):
        config = super().get_config()
        config.update({"seed": self.seed, "preset": self.preset})
        return config

    def _apply_weight_decay(self, variables):
        """Does nothing: `_backend_update_step` decays, scaled by `decay_rates`."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self._check_theta_is_there()
        everything = self._trainable_variables
        chosen = [self._get_variable_index(v) for v in trainable_variables]
        grads = backend_variables.sum_over_replicas(
            self,
            [backend_variables.dense_float_tensor(g) for g in grads],
            trainable_variables,
        )
        parameters = [backend_variables.dense_float_tensor(v) for v in everything]
        gradients = dict(zip(chosen, grads, strict=True))
        gradients = [
            ops.cast(gradients[i], p.dtype) if i in gradients else ops.zeros_like(p)
            for i, p in enumerate(parameters)
        ]
        theta = dict(
            zip(
                self._theta_names,
                [ops.convert_to_tensor(v) for v in self._theta_variables],
                strict=True,
            )
        )
        state = nested_state(
            self._state_keys,
            [ops.convert_to_tensor(v) for v in self._state_variables],
        )
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
        )
        new_state = flat_state(state, len(everything))
        written = [
            (variable, value)
            for variable, (_, index, value) in zip(
                self._state_variables, new_state, strict=True
            )
            if index is None or index in chosen
        ]
        written += [(everything[i], parameters[i]) for i in chosen]
        backend_variables.assign_all(
            self, [variable for variable, _ in written], [value for _, value in written]
        )

    # ---- private ----------------------------------------------------------------

    def _decayed_update(
        self, theta, state, gradients, parameters, step, learning_rate, decays
    ):
        if self.weight_decay is not None:
            rates = self.decay_rates(theta, state, parameters)
            parameters = [
                p - p * ops.cast(self.weight_decay * learning_rate * rate, p.dtype)
                if decay
                else p
                for p, rate, decay in zip(parameters, rates, decays, strict=True)
            ]
        return self.update(theta, state, gradients, parameters, step, learning_rate)

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

    def _add_array(self, array, name):
        return self.add_variable(
            shape=array.shape,
            initializer=backend_variables.initializer_of(array),
            dtype="float32",
            name=name.replace("/", "_"),
        )

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


def draw_seed():
    """Returns a fresh seed, an int in [0, 2**31), from the system's entropy."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def checked_seed(seed):
    """Returns `seed` if it is an int >= 0, else raises ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(
            f"Argument `seed` must be an int >= 0 or None. Received: seed={seed!r}."
        )
    return seed


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
