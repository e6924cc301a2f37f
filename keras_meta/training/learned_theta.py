"""A Keras model that holds the theta of an update rule: what meta-learning learns."""

import keras

from keras_meta.training.episodic_model import EpisodicModel


class LearnedTheta(EpisodicModel):
    """Holds theta in trainable variables, and gives it back as an optimizer.

    The trainers set the attribute that this class reads: `inner_optimizer`.
    """

    @property
    def trainable_variables(self):
        """What the outer optimizer changes."""
        return list(getattr(self, "_theta_variables", ()))

    @property
    def trainable_weights(self):
        return self.trainable_variables

    def adapted_specs(self):
        """Returns the `(path, shape)` of the variables that theta belongs to."""
        return ()

    def theta_values(self):
        """Returns theta as a dict from name to float32 NumPy array."""
        return {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in zip(
                self._theta_names, self._theta_variables, strict=True
            )
        }

    def learned_optimizer(self, **overrides):
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
