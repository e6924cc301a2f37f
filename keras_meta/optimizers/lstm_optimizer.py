"""A learned optimizer: one small LSTM, shared by all coordinates of a model."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.argument_checks import checked_count, checked_number
from keras_meta.optimizers.coordinate_rule import CoordinateRule
from keras_meta.optimizers.gradient_features import log_sign, normalized
from keras_meta.optimizers.lstm_cell import glorot, initial_weights, lstm_step
from keras_meta.optimizers.shipped_weights import shipped_preset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from keras_meta.optimizers.rule_types import (
        GivenTheta,
        LearningRate,
        NamedShapes,
        State,
        Tensor,
        Tensors,
        Theta,
        Variables,
    )

INPUTS = ("log_sign", "normalized")
NUM_FEATURES = 2
WEIGHTS = {"default": "lstm_default"}  # to the names of shipped presets
# What learned weights belong to.
DECIDED_BY_WEIGHTS = (
    "inputs",
    "hidden_size",
    "num_layers",
    "output_scale",
    "log_scale",
    "decay",
)


@keras.saving.register_keras_serializable("keras_meta", "LSTMOptimizer")
class LSTMOptimizer(CoordinateRule):
    """An LSTM that turns each coordinate's gradients into its steps.

    `w <- w + learning_rate * output_scale * m(features(g), hidden state)`, with one
    LSTM for all coordinates and a hidden state for each (Andrychowicz et al. 2016,
    arXiv:1606.04474, section 2.1). Its weights do not depend on the model: what was
    learned on small models runs on any. `LSTMOptimizer(weights="default")` ships with
    learned weights; without weights and without meta-training it is random.

    All variables go through one LSTM call a step. Models of more than `chunk_size`
    weights go through it in chunks: the state takes `8 * num_layers * hidden_size`
    bytes a weight (320 with the defaults), a step for a while as much again, and the
    LSTM's own intermediate values belong to one chunk.

    A step whose gradient is not finite is skipped, state and all, and counted in
    `skipped_steps`. Rows of a sparse gradient (embeddings) that the batch did not
    touch stay as they are.

    Args:
        learning_rate: float, schedule or callable; multiplies the learned step.
            Default 1.0.
        inputs: `"log_sign"`: logarithm and sign of the gradient, output as it is
            (the paper's); or `"normalized"`: momentum and gradient over the
            gradient's running size, through a layer of `hidden_size` ELUs, output
            through tanh (RNNProp: Lv, Jiang & Li 2017, arXiv:1703.03633), which no
            scale of the loss changes. Default: that of `weights`, or "log_sign".
        hidden_size: int >= 1. Default 20.
        num_layers: int >= 1. Default 2.
        output_scale: float > 0. Default 0.1, that of both papers.
        log_scale: float > 0, the p of `"log_sign"`: gradients below `exp(-p)` count
            as small. Default 10.
        decay: float in (0, 1), of the averages of `"normalized"`. Default 0.95.
        weights: None, for random weights that meta-training starts from; or
            `"default"`, for those that ship: learned on mixed small networks, for runs
            of up to 500 steps (`benchmarks/default_lstm.py`). They need the default
            sizes and scales. For weights of your own see `from_preset`.
        chunk_size: int >= 1, coordinates that go through the LSTM at once.
        **kwargs: see `LearnedOptimizer`. Weight decay is multiplied by
            `output_scale`, about the size of a step.

    Raises:
        ValueError: if an argument is out of its range, or not that of `weights`.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0, 2.0])
    >>> optimizer = keras_meta.LSTMOptimizer(seed=0)
    >>> optimizer.apply([[0.2, -0.4]], [w])
    >>> [round(float(x), 4) for x in w.numpy()]
    [0.9948, 2.0128]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        inputs: str | None = None,
        hidden_size: int = 20,
        num_layers: int = 2,
        output_scale: float = 0.1,
        log_scale: float = 10.0,
        decay: float = 0.95,
        weights: str | None = None,
        chunk_size: int = 8192,
        **kwargs: Any,
    ) -> None:
        super().__init__(chunk_size, learning_rate=learning_rate, **kwargs)
        self._is_random = False  # before `build` nobody knows
        preset = shipped_preset(weights, WEIGHTS, type(self).__name__)
        if inputs is None:
            inputs = (
                preset.card["optimizer"]["config"]["inputs"] if preset else INPUTS[0]
            )
        if inputs not in INPUTS:
            raise ValueError(
                f"Argument `inputs` must be one of {list(INPUTS)}. "
                f"Received: inputs={inputs!r}."
            )
        self.inputs = inputs
        self.hidden_size = checked_count("hidden_size", hidden_size)
        self.num_layers = checked_count("num_layers", num_layers)
        infinity = float("inf")
        self.output_scale = checked_number(
            "output_scale", output_scale, 0.0, infinity, low=False
        )
        self.log_scale = checked_number(
            "log_scale", log_scale, 0.0, infinity, low=False
        )
        self.decay = checked_number("decay", decay, 0.0, 1.0, low=False)
        if preset:
            self._check_weights_belong(preset, weights)
            self.set_theta(preset.theta, preset=preset.source)
        self.weights = weights

    def theta_arrays(self, seed: int) -> dict[str, np.ndarray]:
        """Returns the LSTM's weights before meta-learning.

        Returns:
            Dict of float32 arrays: those of `lstm_cell.initial_weights`,
            `"output/kernel"` `(hidden_size, 1)`, `"output/bias"` `(1,)`, and with
            `inputs="normalized"` `"input/kernel"` and `"input/bias"`.
        """
        generator = np.random.default_rng(seed)
        theta, inputs = {}, NUM_FEATURES
        if self.inputs == "normalized":
            inputs = self.hidden_size
            theta["input/kernel"] = glorot(generator, NUM_FEATURES, inputs)
            theta["input/bias"] = np.zeros(inputs, "float32")
        theta |= initial_weights(generator, inputs, self.hidden_size, self.num_layers)
        theta["output/kernel"] = glorot(generator, self.hidden_size, 1)
        theta["output/bias"] = np.zeros(1, "float32")
        return theta

    def coordinate_state(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """Returns hidden states and, of `"normalized"`, averages: zeros."""
        state = {}
        if self.inputs == "normalized":
            state |= {"mean": ((), 0.0), "mean_square": ((), 0.0)}
        for layer in range(self.num_layers):
            for name in ("hidden", "cell"):
                state[f"{name}_{layer}"] = ((self.hidden_size,), 0.0)
        return state

    def coordinate_step(
        self,
        theta: Theta,
        state: State,
        gradients: Tensors,
        parameters: Tensors,
        step: Tensor,
        loss: Tensor | None,
    ) -> tuple[Tensor, State]:
        """Returns moves and new states; see `CoordinateRule`."""
        new = {}
        if self.inputs == "normalized":
            features, new["mean"], new["mean_square"] = normalized(
                gradients, state["mean"], state["mean_square"], step, self.decay
            )
            features = ops.elu(
                ops.matmul(features, theta["input/kernel"]) + theta["input/bias"]
            )
        else:
            features = log_sign(gradients, self.log_scale)
        outputs, hidden = lstm_step(theta, features, state, self.num_layers)
        outputs = ops.matmul(outputs, theta["output/kernel"]) + theta["output/bias"]
        outputs = ops.squeeze(outputs, -1)
        if self.inputs == "normalized":
            outputs = ops.tanh(outputs)
        return self.output_scale * outputs, {**new, **hidden}

    def build(self, variables: Variables) -> None:
        """As `LearnedOptimizer`'s; notes whether the weights are random."""
        if not self.built:
            self._is_random = not self.has_theta and self._restored_arrays is None
        super().build(variables)

    def load_own_variables(self, store: Mapping[str, ArrayLike]) -> None:
        """As `LearnedOptimizer`'s."""
        super().load_own_variables(store)
        self._is_random = False

    def set_weights(self, weights: Sequence[Any]) -> None:
        """As `LearnedOptimizer`'s."""
        super().set_weights(weights)
        self._is_random = False

    def _backend_update_step(self, *args):
        if self._is_random:
            warnings.warn(
                "This LSTMOptimizer has random weights: nothing has been learned yet. "
                'Take LSTMOptimizer(weights="default"), or from_preset(...).',
                stacklevel=2,
            )
        super()._backend_update_step(*args)

    def set_theta(
        self,
        theta: GivenTheta,
        parameters: NamedShapes | None = None,
        preset: str | None = None,
    ) -> None:
        """As `CoordinateRule`'s; the weights are then no longer those of `weights`."""
        super().set_theta(theta, parameters, preset)
        self.weights = None
        self._is_random = False

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns `output_scale` for each parameter."""
        return [self.output_scale for _ in parameters]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            {
                "inputs": self.inputs,
                "hidden_size": self.hidden_size,
                "num_layers": self.num_layers,
                "output_scale": self.output_scale,
                "log_scale": self.log_scale,
                "decay": self.decay,
                "weights": self.weights,
            }
        )
        return config

    def _check_weights_belong(self, preset, weights):
        """Raises if an argument is not that with which the weights were learned."""
        learned_with = preset.card["optimizer"]["config"]
        for name in DECIDED_BY_WEIGHTS:
            received = getattr(self, name)
            if received != learned_with[name]:
                raise ValueError(
                    f"Argument `{name}` must be {learned_with[name]!r} with "
                    f"weights={weights!r}, which were learned so. Received: "
                    f"{name}={received!r}. Leave it out, or meta-train weights of your "
                    "own with `keras_meta.OptimizerTrainer`."
                )


# So that `compile(optimizer="lstm_optimizer")` works as "adam" does.
keras.saving.get_custom_objects()["lstm_optimizer"] = LSTMOptimizer
