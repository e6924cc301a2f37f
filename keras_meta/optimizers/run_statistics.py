"""What a controller of learning rates sees of a run: time, horizon and loss."""

import numpy as np
from keras import ops

TIMES = np.array([2.0, 6.0, 20.0, 60.0, 200.0, 600.0, 2000.0, 6000.0], "float32")
TIME = tuple(f"step against {int(count)}" for count in TIMES)
HORIZON = ("horizon known", "part done", "part left", "horizon")
LOSS = ("loss known", "loss slope", "loss slope in spreads", "loss fallen")
FAST, SLOW, SPREAD = 0.9, 0.985, 0.98  # decays of the loss's running figures
SHORTEST_LEFT = 0.003


def time_statistics(count):
    """Returns float32 `(len(TIME),)`.

    Args:
        count: float32 scalar, 1 at the first step.
    """
    return ops.tanh(1.5 * ops.log10(count / ops.convert_to_tensor(TIMES)))


def horizon_statistics(count, horizon, known):
    """Returns float32 `(len(HORIZON),)`, zeros if the horizon is not known.

    Args:
        count: float32 scalar, 1 at the first step.
        horizon: float32 scalar, steps of the whole run.
        known: float32 scalar, 1 or 0.
    """
    done = part_done(count, horizon)
    return known * ops.stack(
        [
            ops.ones_like(done),
            2.0 * done - 1.0,
            ops.log10(1.0 - done + SHORTEST_LEFT) + 0.5,
            ops.log10(horizon / 300.0),
        ]
    )


def part_done(count, horizon):
    """Returns the share of a run before this step, in [0, 1]; float32 scalar."""
    return ops.clip((count - 1.0) / horizon, 0.0, 1.0)


def first_loss_state():
    """Returns the running figures of a loss before it was seen: float32 `(5,)`."""
    return ops.zeros((5,), "float32")


def loss_statistics(state, loss, known):
    """Returns what the loss says, and its running figures; all in logarithms.

    A loss that is not positive or not finite counts as not known.

    Args:
        state: float32 `(5,)`: how often the loss was known, and, of its logarithm to
            base 10, the first value, a fast mean, a slow mean and the mean square
            around the fast one.
        loss: float32 scalar.
        known: float32 scalar, 1 or 0.

    Returns:
        Tuple `(statistics, state)`: float32 `(len(LOSS),)`, zeros if not known, and
        `(5,)`.
    """
    usable = ops.logical_and(ops.isfinite(loss), loss > 0.0)
    known = ops.where(usable, known, 0.0)
    log = ops.log10(ops.clip(ops.where(usable, loss, 1.0), 1e-8, 1e8))
    seen, first, fast, slow, square = (state[i] for i in range(5))
    fresh = seen == 0.0
    new = [
        seen + 1.0,
        ops.where(fresh, log, first),
        ops.where(fresh, log, FAST * fast + (1.0 - FAST) * log),
        ops.where(fresh, log, SLOW * slow + (1.0 - SLOW) * log),
    ]
    new.append(SPREAD * square + (1.0 - SPREAD) * ops.square(log - new[2]))
    slope = new[3] - new[2]
    statistics = known * ops.stack(
        [
            ops.ones_like(slope),
            ops.clip(8.0 * slope, -3.0, 3.0),
            # The root of what is kept away from 0: else its derivative is infinite.
            ops.clip(slope / (ops.sqrt(new[4] + 1e-12) + 0.01), -3.0, 3.0),
            ops.clip(new[2] - new[1], -3.0, 3.0),
        ]
    )
    return statistics, ops.where(known > 0.0, ops.stack(new), state)
