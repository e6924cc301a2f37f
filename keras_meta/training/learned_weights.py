"""A Keras model around another one, with theta beside the model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from keras_meta.optimizers.parameter_specs import specs_of
from keras_meta.training.learned_theta import LearnedTheta

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from keras_meta.optimizers.parameter_specs import ParameterSpec


class LearnedWeights(LearnedTheta):
    """Holds what meta-learning learns: the initialisation and theta.

    `MetaTrainer` sets the attributes that this class reads: the model, the inner
    optimizer, `adapted` and `learn_initialization`.
    """

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the outer optimizer changes: the initialisation and theta."""
        initialization = (
            self.model.trainable_variables if self.learn_initialization else []
        )
        return [*initialization, *getattr(self, "_theta_variables", ())]

    def adapted_specs(self) -> Sequence[ParameterSpec]:
        """Returns the `(path, shape)` of the variables the inner loop changes."""
        return specs_of(
            [
                variable
                for variable, adapted in zip(
                    self.model.trainable_variables, self.adapted, strict=True
                )
                if adapted
            ]
        )

    def _add_learned_weights(self):
        self._add_theta()
        if not self._theta_names and not self.learn_initialization:
            raise ValueError(
                "There is nothing to learn: learn_initialization=False, and "
                f"{type(self.inner_optimizer).__name__} has no theta. Use "
                "`keras_meta.MetaSGD()`, or learn the initialisation."
            )

    def _unpacked(self, outer):
        count = len(self.model.trainable_variables)
        if self.learn_initialization:
            parameters, theta = list(outer[:count]), outer[count:]
        else:
            parameters = [
                tf.convert_to_tensor(v.value) for v in self.model.trainable_variables
            ]
            theta = outer
        return dict(zip(self._theta_names, theta, strict=True)), parameters
