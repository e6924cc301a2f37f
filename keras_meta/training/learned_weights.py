"""A Keras model around another one, with theta beside the model's weights."""

import keras
import tensorflow as tf

from keras_meta.optimizers.parameter_specs import specs_of
from keras_meta.training.episodic_model import EpisodicModel


class LearnedWeights(EpisodicModel):
    """Holds what meta-learning learns: the initialisation and theta.

    `MetaTrainer` sets the attributes that this class reads: the model, the inner
    optimizer, `adapted` and `learn_initialization`.
    """

    @property
    def trainable_variables(self):
        """What the outer optimizer changes: the initialisation and theta."""
        initialization = (
            self.model.trainable_variables if self.learn_initialization else []
        )
        return [*initialization, *getattr(self, "_theta_variables", ())]

    @property
    def trainable_weights(self):
        return self.trainable_variables

    def theta_values(self):
        """Returns theta as a dict from name to float32 NumPy array."""
        return {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in zip(
                self._theta_names, self._theta_variables, strict=True
            )
        }

    def adapted_specs(self):
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

    def learned_optimizer(self, **overrides):
        """Returns a new inner optimizer that holds the theta learned so far.

        Args:
            **overrides: constructor arguments to change.
        """
        config = {**self.inner_optimizer.get_config(), "preset": None, **overrides}
        optimizer = type(self.inner_optimizer).from_config(config)
        if self._theta_names:
            optimizer.set_theta(
                self.theta_values(), self.adapted_specs(), preset="MetaTrainer"
            )
        return optimizer

    def _add_learned_weights(self):
        optimizer, specs = self.inner_optimizer, self.adapted_specs()
        theta = optimizer.theta_for(specs)
        if not theta and not self.learn_initialization:
            raise ValueError(
                "There is nothing to learn: learn_initialization=False, and "
                f"{type(optimizer).__name__} has no theta. Use "
                "`keras_meta.MetaSGD()`, or learn the initialisation."
            )
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
