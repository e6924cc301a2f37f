"""What MetaAdam's controller is given: statistics of Adam's slots, and of the run."""

from keras import ops

from keras_meta.optimizers import rate_controller, run_statistics, tensor_statistics
from keras_meta.optimizers.adam_step import BETAS, EPSILON
from keras_meta.optimizers.tensor_blocks import TensorBlocks


class StatisticsPlan:
    """What statistics need to know of the shapes of a model's tensors."""

    def __init__(self, shapes):
        self.blocks = TensorBlocks(shapes)
        self.static = tensor_statistics.static_statistics(shapes)
        self.weights = tensor_statistics.pooling_weights(shapes)


def adam_statistics(plan, old, gradients, parameters, state, count, loss, horizon):
    """Returns what the controller is given, and what is kept for the next step.

    Args:
        plan: `StatisticsPlan`.
        old: pair of lists of flat blocks: momenta and velocities before this step.
        gradients: list of flat blocks.
        parameters: list of tensors.
        state: dict, the rule's.
        count: float32 scalar, 1 at the first step.
        loss, horizon: pairs `(value, known)` of float32 scalars.

    Returns:
        Tuple `(inputs, figures, sizes)`: float32 `(tensors, inputs)`; a dict of the
        state's new entries; float32 `(tensors,)`, root mean squares of directions.
    """
    vectors, slow, start = _vectors(
        plan.blocks, old, gradients, plan.blocks.join(parameters), state, count
    )
    counts = plan.blocks.counts
    of_tensors, turns = tensor_statistics.tensor_statistics(
        vectors, counts, ops.unstack(state["turns"], 2), state["path"], count
    )
    of_loss, losses = run_statistics.loss_statistics(state["losses"], *loss)
    statistics = rate_controller.inputs(
        of_tensors,
        plan.static,
        plan.weights,
        [
            run_statistics.time_statistics(count),
            run_statistics.horizon_statistics(count, *horizon),
            of_loss,
        ],
    )
    square = ops.sum(ops.square(vectors["d"]), axis=1)
    walked = ops.sqrt(square / ops.convert_to_tensor(counts) + 1e-30)
    figures = {
        "slow_momentum": slow,
        "start": start,
        "turns": ops.stack(turns),
        "losses": losses,
    }
    return statistics, figures, walked


def _vectors(blocks, old, gradients, parameters, state, count):
    """Returns the vectors of `tensor_statistics`, new slow momentum and start."""
    g, p, m0, v0 = (
        ops.cast(blocks.take(parts), "float32")
        for parts in (gradients, parameters, *old)
    )
    m = m0 + (1.0 - BETAS["m"]) * (g - m0)
    v = v0 + (1.0 - BETAS["v"]) * (ops.square(g) - v0)
    slow = BETAS["s"] * state["slow_momentum"] + (1.0 - BETAS["s"]) * g
    still = ops.expand_dims(state["path"] == 0.0, 1)  # has not moved yet
    start = ops.where(still, p, state["start"])
    before = ops.maximum(count - 1.0, 1.0)
    # Roots of what is kept away from 0: else their derivative is infinite.
    root, root0 = (ops.sqrt(ops.maximum(part, 1e-30)) for part in (v, v0))
    size, size0 = (
        part * ops.rsqrt(1.0 - ops.power(BETAS["v"], at)) + EPSILON
        for part, at in ((root, count), (root0, before))
    )
    vectors = {
        "g": g,
        "m0": m0,
        "m": m,
        "s": slow,
        "r": root,
        "u": g / size,
        "d": m / (1.0 - ops.power(BETAS["m"], count)) / size,
        "d0": m0 / (1.0 - ops.power(BETAS["m"], before)) / size0,
        "p": p,
        "moved": p - start,
        "zero": ops.cast(ops.logical_and(ops.equal(g, 0.0), blocks.inside), "float32"),
    }
    return vectors, slow, start
