"""Meta-gradients: what one task says about what is learned. One rule a file.

Each is a function of `(task, outer, others, num_steps)` to `(loss, y_pred,
gradients)`, see `exact.py`.
"""

from keras_meta.training.meta_gradients import exact, first_order, reptile

META_GRADIENTS = {
    "exact": exact.meta_gradient,
    "first_order": first_order.meta_gradient,
    "reptile": reptile.meta_gradient,
}

__all__ = ["META_GRADIENTS"]
