"""A Keras model that holds the theta of an update rule: what meta-learning learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_meta.training.episodic_model import EpisodicModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from keras_meta.optimizers import LearnedOptimizer
    from keras_meta.optimizers.parameter_specs import ParameterSpec


class LearnedTheta(EpisodicModel):
    """Holds theta in trainable variables, and gives it back as an optimizer.

    The trainers set the attribute that this class reads: `inner_optimizer`.
    """

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the outer optimizer changes."""
        return list(getattr(self, "_theta_variables", ()))

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    def adapted_specs(self) -> Sequence[ParameterSpec]:
        """Returns the `(path, shape)` of the variables that theta belongs to."""
        return ()

    def theta_values(self) -> dict[str, np.ndarray]:
        """Returns theta as a dict from name to float32 NumPy array."""
        return {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in zip(
                self._theta_names, self._theta_variables, strict=True
            )
        }

    def learned_optimizer(self, **overrides: Any) -> LearnedOptimizer:
        """Returns a new inner optimizer that holds the theta learned so far.

        Args:
            **overrides: constructor arguments to change.
        """
        config = {**self.inner_optimizer.get_config(), "preset": None, **overrides}
        optimizer = type(self.inner_optimizer).from_config(config)
        if self._theta_names:
            optimizer.set_theta(
                self.theta_values(), self.adapted_specs(), preset=type(self).__name__
            )
        return optimizer

    def _add_theta(self):
        theta = self.inner_optimizer.theta_for(self.adapted_specs())
        self._theta_names = tuple(theta)
        self._theta_variables = tuple(
            self.add_weight(
                name=name.replace("/", "_"),
                shape=array.shape,
                dtype="float32",
                initializer=keras.initializers.Constant(array),
                trainable=True,
            )
            for name, array in theta.items()
        )
