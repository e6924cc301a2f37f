"""The LSTM meta-learner: the weights are the cell state of an LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_meta.optimizers.argument_checks import checked_count, checked_number
from keras_meta.optimizers.coordinate_rule import CoordinateRule
from keras_meta.optimizers.gradient_features import log_sign
from keras_meta.optimizers.lstm_cell import initial_weights, lstm_step

if TYPE_CHECKING:
    from keras_meta.optimizers.rule_types import (
        LearningRate,
        State,
        Tensor,
        Tensors,
        Theta,
    )

GATES = ("input_gate", "forget_gate")
FEATURES = 2  # of a gradient, and of the loss


@keras.saving.register_keras_serializable("keras_meta", "MetaLSTM")
class MetaLSTM(CoordinateRule):
    """Gradient descent with learned input and forget gates for every weight.

    `w <- f * w - i * g`: the update of an LSTM's cell state with the weights as the
    cell and the negative gradient as the candidate (Ravi & Larochelle 2017,
    "Optimization as a model for few-shot learning", section 3.1, equations 1 to 3).
    An LSTM over gradient and loss, both as logarithm and sign, feeds the gates: `i =
    sigmoid(W_i [h, w, i_before] + b_i)`, f alike. The LSTM and the gates are shared by
    all weights; every weight has a state of its own. The learned initial cell state is
    the learned initialisation of `keras_meta.MetaTrainer`, with
    `meta_gradient="first_order"`, as in the paper.

    In Keras' `fit` on TensorFlow the optimizer sees the loss. Where Keras does not
    tell it (other backends, `LossScaleOptimizer`), and with several replicas of
    `tf.distribute`, it works as with zeros in its place; with
    `gradient_accumulation_steps` it sees the last batch's. A step whose gradient or
    loss is not finite is skipped, and counted in `skipped_steps`. Memory: as
    `LSTMOptimizer`'s, with one layer.

    Args:
        learning_rate: float, schedule or callable; multiplies the step, decay of the
            forget gate included. Default 1.0.
        hidden_size: int >= 1. Default 20, the paper's.
        initial_rate: float in (0, 1), about the input gate's first value. Default
            0.01.
        initial_decay: float in (0, 1), about one minus the forget gate's first value.
            Default 0.0001. The paper opens the forget gate and closes the input
            gate at first, "close to normal gradient descent".
        use_loss: bool, whether the loss is an input. Default True, as in the paper.
        log_scale: float > 0, the p of `gradient_features.log_sign`. Default 10.
        chunk_size: int >= 1, weights that go through the LSTM at once.
        **kwargs: see `LearnedOptimizer`. Weight decay is multiplied by
            `initial_rate`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import keras, keras_meta
    >>> w = keras.Variable([1.0, 2.0])
    >>> optimizer = keras_meta.MetaLSTM(initial_rate=0.5, seed=0)
    >>> optimizer.apply([[0.2, -0.4]], [w])
    >>> [round(float(x), 1) for x in w.numpy()]
    [0.9, 2.2]
    """

    reads_parameters = True

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        hidden_size: int = 20,
        initial_rate: float = 0.01,
        initial_decay: float = 1e-4,
        use_loss: bool = True,
        log_scale: float = 10.0,
        chunk_size: int = 8192,
        **kwargs: Any,
    ) -> None:
        super().__init__(chunk_size, learning_rate=learning_rate, **kwargs)
        self.hidden_size = checked_count("hidden_size", hidden_size)
        self.initial_rate = checked_number(
            "initial_rate", initial_rate, 0.0, 1.0, low=False
        )
        self.initial_decay = checked_number(
            "initial_decay", initial_decay, 0.0, 1.0, low=False
        )
        self.use_loss = bool(use_loss)
        self.log_scale = checked_number(
            "log_scale", log_scale, 0.0, float("inf"), low=False
        )

    @property
    def uses_loss(self) -> bool:
        """bool, whether the loss is an input."""
        return self.use_loss

    def theta_arrays(self, seed: int) -> dict[str, np.ndarray]:
        """Returns the weights before meta-learning.

        Returns:
            Dict of float32 arrays: those of `lstm_cell.initial_weights`, one layer;
            for `"input_gate"` and `"forget_gate"` a `"GATE/kernel"` `(hidden_size + 2,
            1)`, small, and a `"GATE/bias"` `(1,)`, which gives the gate its first
            value.
        """
        generator = np.random.default_rng(seed)
        inputs = 2 * FEATURES if self.use_loss else FEATURES
        theta = initial_weights(generator, inputs, self.hidden_size, 1)
        start = {"input_gate": self.initial_rate, "forget_gate": 1 - self.initial_decay}
        for gate in GATES:
            kernel = generator.uniform(-0.01, 0.01, (self.hidden_size + 2, 1))
            theta[f"{gate}/kernel"] = kernel.astype("float32")
            logit = np.log(start[gate] / (1.0 - start[gate]))
            theta[f"{gate}/bias"] = np.full(1, logit, "float32")
        return theta

    def coordinate_state(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """Returns hidden states of zeros and gates at their first values."""
        return {
            "hidden_0": ((self.hidden_size,), 0.0),
            "cell_0": ((self.hidden_size,), 0.0),
            "input_gate": ((), self.initial_rate),
            "forget_gate": ((), 1.0 - self.initial_decay),
        }

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
        features = log_sign(gradients, self.log_scale)
        if self.use_loss:
            loss = ops.zeros((), "float32") if loss is None else loss
            of_loss = ops.broadcast_to(
                log_sign(loss, self.log_scale), ops.shape(features)
            )
            features = ops.concatenate([features, of_loss], axis=-1)
        hidden, new = lstm_step(theta, features, state, 1)
        for gate in GATES:
            inputs = ops.concatenate(
                [hidden, parameters[:, None], state[gate][:, None]], axis=-1
            )
            logits = ops.matmul(inputs, theta[f"{gate}/kernel"]) + theta[f"{gate}/bias"]
            new[gate] = ops.sigmoid(ops.squeeze(logits, -1))
        moves = (new["forget_gate"] - 1.0) * parameters
        return moves - new["input_gate"] * gradients, new

    def decay_rates(self, theta: Theta, state: State, parameters: Tensors) -> Tensors:
        """Returns `initial_rate` for each parameter."""
        return [self.initial_rate for _ in parameters]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            {
                "hidden_size": self.hidden_size,
                "initial_rate": self.initial_rate,
                "initial_decay": self.initial_decay,
                "use_loss": self.use_loss,
                "log_scale": self.log_scale,
            }
        )
        return config


# So that `compile(optimizer="meta_lstm")` works as "adam" does.
keras.saving.get_custom_objects()["meta_lstm"] = MetaLSTM
