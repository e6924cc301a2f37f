"""Meta-SGD: gradient descent whose rates are learned across tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.argument_checks import checked_number
from keras_meta.optimizers.learned_optimizer import LearnedOptimizer
from keras_meta.optimizers.parameter_specs import ParameterSpec, specs_of
from keras_meta.optimizers.rate_matching import (
    GRANULARITIES,
    RateGroup,
    match_rates,
    rate_groups,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from keras_meta.optimizers.rule_types import (
        LearningRate,
        Shapes,
        State,
        Tensor,
        Tensors,
        Theta,
    )

RATE_MAPS = ("constant", "linear")


@keras.saving.register_keras_serializable("keras_meta", "MetaSGD")
class MetaSGD(LearnedOptimizer):
    """Gradient descent with a learned rate for every weight.

    `w <- w - learning_rate * alpha * g` with a learned vector `alpha` as large as `w`
    (Li, Zhou, Chen & Li 2017, "Meta-SGD", arXiv:1707.09835, equation 3), which sets
    size and direction: a rate may become negative. Meta-train it with
    `keras_meta.MetaTrainer`, or load one with `MetaSGD.from_preset(...)`; without
    either it is gradient descent with random rates, unless `online=True`.

    Args:
        learning_rate: float, schedule or callable; multiplies the learned step.
            Default 1.0.
        alpha_init: float > 0, or a pair `(low, high)` with 0 < low <= high, of which
            rates are drawn uniformly. Default (0.005, 0.1), the paper's.
        granularity: `"parameter"` (the paper's), `"tensor"` (a rate for each
            variable) or `"layer"` (a rate for each layer). Default "parameter".
        rate_map: `"constant"` (the paper's) or `"linear"`: the rate of a coordinate
            with gradient g is `eta0 + eta1 * g`, both learned; eta1 starts at 0.
        online: bool. If True, rates go on adapting during `fit`, each by its
            hypergradient (Baydin, Cornish, Martinez Rubio, Schmidt & Wood 2018,
            "Online learning rate adaptation with hypergradient descent",
            arXiv:1703.04782, equation 5): `alpha <- alpha + hypergradient_rate *
            g_t . g_{t-1}`, the product summed over what shares the rate. The paper
            has one rate for all weights; here each group has its own. Default False.
        hypergradient_rate: float >= 0, the paper's beta. Default 1e-4.
        **kwargs: see `LearnedOptimizer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0, 2.0])
    >>> keras_meta.MetaSGD(alpha_init=0.5).apply([[0.2, 0.4]], [w])
    >>> [round(float(x), 4) for x in w.numpy()]
    [0.9, 1.8]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        alpha_init: float | tuple[float, float] = (0.005, 0.1),
        granularity: str = "parameter",
        rate_map: str = "constant",
        online: bool = False,
        hypergradient_rate: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.alpha_init = _checked_alpha_init(alpha_init)
        for argument, value, choices in (
            ("granularity", granularity, GRANULARITIES),
            ("rate_map", rate_map, RATE_MAPS),
        ):
            if value not in choices:
                raise ValueError(
                    f"Argument `{argument}` must be one of {list(choices)}. "
                    f"Received: {argument}={value!r}."
                )
        self.granularity = granularity
        self.rate_map = rate_map
        self.online = bool(online)
        self.hypergradient_rate = checked_number(
            "hypergradient_rate", hypergradient_rate, 0.0, float("inf")
        )

    def initial_theta(self, shapes: Shapes, seed: int) -> Theta:
        """Returns the rates that meta-learning starts from.

        Args:
            shapes: list of tuples, or dict from path to tuple (needed for
                `granularity="layer"`, which groups parameters by path).
            seed: int >= 0.

        Returns:
            Dict: `"rate/III"` float32, of the shape of parameter III or `()`; III is
            the position of the first parameter that it serves. With
            `rate_map="linear"` also `"slope/III"` (eta1), zeros.
        """
        if not isinstance(shapes, dict):
            if self.granularity == "layer":
                raise ValueError(
                    'granularity="layer" needs the parameters\' paths. Received: '
                    f"{len(shapes)} shapes without paths. Pass a dict from path to "
                    "shape."
                )
            shapes = {f"parameter_{i}": shape for i, shape in enumerate(shapes)}
        specs = [ParameterSpec(path, tuple(shape)) for path, shape in shapes.items()]
        theta = {}
        for group in rate_groups(specs, self.granularity):
            generator = np.random.default_rng([seed, group.indices[0]])
            low, high = self.alpha_init
            theta[_name("rate", group)] = generator.uniform(
                low, high, group.shape
            ).astype("float32")
        if self.rate_map == "linear":
            theta |= {
                name.replace("rate", "slope"): np.zeros_like(array)
                for name, array in theta.items()
            }
        return theta

    def initial_state(self, theta: Theta, parameters: Tensors) -> State:
        """Returns the running rates and last directions if `online`, else nothing."""
        if not self.online:
            return {}
        state = {name: ops.convert_to_tensor(value) for name, value in theta.items()}
        state["previous_direction"] = [ops.zeros_like(p) for p in parameters]
        if self.rate_map == "linear":
            state["previous_square"] = [ops.zeros_like(p) for p in parameters]
        return state

    def update(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        learning_rate: Tensor = 1.0,
    ) -> tuple[Tensors, State]:
        """Computes one step; see `LearnedOptimizer.update`."""
        # The step is rate * direction; only the rate is learned.
        directions = [ops.cast(learning_rate, g.dtype) * g for g in gradients]
        rates = theta
        if self.online:
            rates = self._adapted_rates(state, gradients)
            state = {**rates, "previous_direction": directions}
            if self.rate_map == "linear":
                state["previous_square"] = [
                    d * g for d, g in zip(directions, gradients, strict=True)
                ]
        eta0 = _for_each_parameter(rates, "rate", len(parameters))
        eta1 = _for_each_parameter(rates, "slope", len(parameters))
        new_parameters = []
        for parameter, gradient, direction, constant, slope in zip(
            parameters, gradients, directions, eta0, eta1, strict=True
        ):
            rate = ops.cast(constant, gradient.dtype)
            if slope is not None:
                rate = rate + ops.cast(slope, gradient.dtype) * gradient
            new_parameters.append(parameter - rate * direction)
        return new_parameters, state

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns |eta0| of each parameter."""
        rates = state if self.online else theta
        return [
            ops.abs(rate)
            for rate in _for_each_parameter(rates, "rate", len(parameters))
        ]

    def adapt_to(self, model: keras.Model, strict: bool = False) -> Self:
        """Returns a copy whose rates fit another model's trainable variables.

        Models with the same variables in the same order match by position. Else a
        rate is matched by path and shape; else it becomes the mean of the tensor (or
        layer) with that path, else of its kind (all dense kernels, say), else of
        all rates.

        Args:
            model: a built `keras.Model`.
            strict: bool. If True, a mean is an error instead.

        Raises:
            ValueError: if the model is not built, if this optimizer has no rates
                yet, or, with `strict`, naming each variable that did not match.

        Example:

        >>> import keras, keras_meta
        >>> small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> large = keras.Sequential([keras.Input((2,)), keras.layers.Dense(9)])
        >>> optimizer = keras_meta.MetaSGD(alpha_init=0.5)
        >>> optimizer.build(small.trainable_variables)
        >>> optimizer.adapt_to(large).theta_values()["rate/000"].shape
        (2, 9)
        """
        if not model.built or not model.trainable_variables:
            raise ValueError(
                "Argument `model` must be built and have trainable variables. "
                f"Received: model {model.name!r}, built={model.built}. Call it on "
                "data or give it a `keras.Input` first."
            )
        theta = self.theta_values()
        target_specs = specs_of(model.trainable_variables)
        target = rate_groups(target_specs, self.granularity)
        # By number: a file gives theta in any order.
        numbers = sorted(int(n[5:]) for n in theta if n.startswith("rate/"))
        if self.parameter_specs:
            source = rate_groups(self.parameter_specs, self.granularity)
        else:
            names = [f"rate/{number:03d}" for number in numbers]
            source = [RateGroup((), n, n, (), theta[n].shape) for n in names]
        fitted, inexact = {}, []
        for prefix in ("rate", "slope"):
            names = [f"{prefix}/{number:03d}" for number in numbers]
            if names[0] in theta:
                arrays = [theta[name] for name in names]
                arrays, inexact = match_rates(source, arrays, target)
                fitted |= {
                    _name(prefix, group): array
                    for group, array in zip(target, arrays, strict=True)
                }
        if strict and inexact:
            raise ValueError(
                "With strict=True every variable must match one that was learned, by "
                f"path and shape. Received model {model.name!r}, in which "
                f"{len(inexact)} did not: " + "; ".join(inexact) + ". Use "
                "strict=False to fill them with means."
            )
        copy = self._copy()
        copy.set_theta(fitted, target_specs, preset=self.preset or "adapt_to")
        return copy

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            {
                "alpha_init": list(self.alpha_init),
                "granularity": self.granularity,
                "rate_map": self.rate_map,
                "online": self.online,
                "hypergradient_rate": self.hypergradient_rate,
            }
        )
        return config

    def _adapted_rates(self, state, gradients):
        """Returns the rates after Baydin et al.'s equation 5, for each group.

        The last step was -(eta0 + eta1 h) d with gradient h and direction
        d = learning_rate * h, so the loss falls along eta0 by g . d and along eta1
        by g . (d h).
        """
        adapted = {}
        for prefix, slot in (
            ("rate", "previous_direction"),
            ("slope", "previous_square"),
        ):
            owners = _owners(state, prefix, len(gradients))
            for name in dict.fromkeys(owner for owner in owners if owner is not None):
                change = 0.0
                for index, owner in enumerate(owners):
                    if owner != name:
                        continue
                    gradient = gradients[index]
                    product = gradient * ops.cast(state[slot][index], gradient.dtype)
                    if self.granularity != "parameter":
                        product = ops.sum(product)
                    change = change + product
                rate = state[name]
                adapted[name] = rate + ops.cast(
                    self.hypergradient_rate * change, rate.dtype
                )
        return adapted


def _name(prefix, group):
    return f"{prefix}/{group.indices[0]:03d}"


def _owners(values, prefix, num_parameters):
    """Returns, for each parameter, the name of the entry that serves it, or None."""
    first = {
        int(name.split("/")[1]): name
        for name in values
        if name.startswith(prefix + "/")
    }
    owners, current = [], None
    for index in range(num_parameters):
        current = first.get(index, current)
        owners.append(current)
    return owners


def _for_each_parameter(values, prefix, num_parameters):
    return [
        None if owner is None else values[owner]
        for owner in _owners(values, prefix, num_parameters)
    ]


def _checked_alpha_init(alpha_init):
    pair = alpha_init
    if isinstance(alpha_init, (int, float)) and not isinstance(alpha_init, bool):
        pair = (alpha_init, alpha_init)
    valid = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not valid or not 0.0 < pair[0] <= pair[1] < float("inf"):
        raise ValueError(
            "Argument `alpha_init` must be > 0, a float or a pair (low, high) with "
            f"low <= high. Received: alpha_init={alpha_init!r}."
        )
    return (float(pair[0]), float(pair[1]))


# So that `compile(optimizer="meta_sgd")` works as "adam" does.
keras.saving.get_custom_objects()["meta_sgd"] = MetaSGD
