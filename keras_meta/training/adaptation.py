"""One support set in, one adapted Keras model out."""

import keras
import tensorflow as tf

from keras_meta.training import episode_checks


def adapted_model(trainer, support_x, support_y, num_steps):
    """Computes what `MetaTrainer.adapt` returns; see there."""
    x, y = episode_checks.checked_support(trainer, support_x, support_y)
    parameters, others = trainer.adaptation_function(x, y, num_steps)(x, y)
    model = copied_model(trainer.model, x)
    for variables, values in (
        (model.trainable_variables, parameters),
        (model.non_trainable_variables, others),
    ):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    _freeze_unadapted_layers(model, trainer.adapted)
    compiling = trainer.loss_and_metrics()
    compiling["metrics"] = keras.tree.map_structure(
        episode_checks.fresh_metric, compiling["metrics"]
    )
    model.compile(optimizer=trainer.learned_optimizer(), **compiling)
    return model


def _freeze_unadapted_layers(model, adapted):
    """Freezes layers of which the inner loop changes nothing (ANIL's body).

    The learned optimizer has rates for the adapted variables only, so that `fit`
    goes on with these.
    """
    kept = {
        id(variable)
        for variable, is_adapted in zip(model.trainable_variables, adapted, strict=True)
        if is_adapted
    }
    for layer in model._flatten_layers(include_self=False):
        variables = layer.trainable_variables
        if variables and not any(id(variable) in kept for variable in variables):
            layer.trainable = False


def copied_model(original, x):
    """Returns a new model with the architecture and the weights of `original`.

    Args:
        original: built `keras.Model`.
        x: inputs, leading axis examples, to build the copy on.

    Raises:
        TypeError: if its class cannot be made again from its config.
    """
    try:
        model = type(original).from_config(original.get_config())
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            "`adapt()` makes a new model: the model's class must have a `get_config()` "
            "that returns its constructor's arguments. Received: "
            f"{type(original).__name__}. Keras says: {error}"
        ) from error
    if not model.built:
        model(tf.nest.map_structure(lambda part: part[:1], x), training=False)
    for variable, value in zip(model.variables, original.variables, strict=True):
        variable.assign(value)
    return model
