"""What a recurrent rule sees of a gradient: bounded features of every coordinate."""

import math

from keras import ops

LARGEST = 1e18  # Its square is a float32.


def log_sign(gradients, p=10.0):
    """Returns logarithm and sign of each gradient, both in about [-1, 1].

    Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient
    descent", arXiv:1606.04474, appendix A: `(log|g| / p, sign(g))` where
    `|g| >= exp(-p)`, else `(-1, exp(p) * g)`.

    Args:
        gradients: float32, any shape.
        p: float > 0; gradients below `exp(-p)` count as small.

    Returns:
        float32 `(*gradients.shape, 2)`.
    """
    size = ops.abs(gradients)
    threshold = math.exp(-p)
    # The logarithm of what is kept away from 0: else its derivative is infinite.
    logarithm = ops.log(ops.maximum(size, threshold)) / p
    direction = ops.clip(gradients * math.exp(p), -1.0, 1.0)
    return ops.stack([logarithm, direction], axis=-1)


def normalized(gradients, mean, mean_square, step, decay, epsilon=1e-8):
    """Returns momentum and gradient in units of the gradient's running size.

    Lv, Jiang & Li 2017, "Learning gradient descent: better generalization and longer
    horizons" (RNNProp), arXiv:1703.03633, section 4.1: `m^ / (sqrt(v^) + epsilon)`
    and `g / (sqrt(v^) + epsilon)`, with Adam's bias-corrected averages. Gradients
    beyond 1e18 count as 1e18: an infinite average would never end.

    Args:
        gradients, mean, mean_square: float32 of one shape; the averages before this
            step.
        step: int32 scalar, 0 at the first step.
        decay: float in (0, 1), of both averages.
        epsilon: float > 0.

    Returns:
        Tuple `(features, mean, mean_square)`: float32 `(*shape, 2)`, and the averages
        after this step.
    """
    gradients = ops.clip(gradients, -LARGEST, LARGEST)
    mean = decay * mean + (1.0 - decay) * gradients
    mean_square = decay * mean_square + (1.0 - decay) * ops.square(gradients)
    correction = 1.0 - ops.power(decay, ops.cast(step, "float32") + 1.0)
    # The root of what is kept away from 0: else its derivative is infinite.
    size = ops.sqrt(ops.maximum(mean_square / correction, 1e-30)) + epsilon
    features = ops.stack([mean / correction / size, gradients / size], axis=-1)
    return features, mean, mean_square
