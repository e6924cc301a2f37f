"""When to distrust a learned step: running figures of losses and gradient sizes.

Pure functions of one small state, shared by `MetaAdam(safeguard=True)` and
`Safeguarded`.
"""

from keras import ops

FAST, SLOW, SPREAD = 0.9, 0.985, 0.98  # decays of the loss's running figures
NORM_DECAY = 0.98
WARM = 20.0  # losses before one can be called a rise
NORMS_WARM = 3.0  # gradients before the running mean of their norms can be relied on
RISE = 2.0  # spreads of single losses that the fast mean may lie above the slow one
SPIKE = 100.0  # times its running mean that a gradient's norm may reach
FIRST_SPIKE = 1e4  # the same, while there are fewer than that
RECOVERY = 0.995  # what is left of the distrust after a step without trouble
ROW = 1024  # entries that are added up at once
LARGEST_DIRECTION = 1.5  # root mean square; of steady gradients it is at most 1
COUNTERS = ("skipped_steps", "loss_rises", "bounded_steps")
NAMES = ("distrust", *COUNTERS, "norms", "norm", "losses", "fast", "slow", "square")


def initial_guard():
    """Returns the state before the first step: float32 `(len(NAMES),)`, zeros."""
    return ops.zeros((len(NAMES),), "float32")


def square_sum(gradients):
    """Returns the sum of the squares of all gradients, float32 scalar.

    Rows are added up by a product with ones: XLA's own sums of many numbers are
    several times as slow on a CPU.
    """
    total = 0.0
    for gradient in gradients:
        flat = ops.square(ops.reshape(ops.cast(gradient, "float32"), (-1,)))
        whole = flat.shape[0] // ROW * ROW
        if whole:
            rows = ops.reshape(flat[:whole], (-1, ROW))
            total = total + ops.sum(ops.matmul(rows, ops.ones((ROW, 1), "float32")))
        total = total + ops.sum(flat[whole:])
    return total


def usual_gradient(guard, square, loss):
    """Whether a step may be taken at all.

    It may not, if its gradient or its loss is not finite, or if the gradient's norm
    is more than 100 times the running mean of norms above 0; 10,000 times for the
    second and the third. Each time that happens the running mean doubles: a gradient
    that stays large is let through in the end.

    Args:
        guard: the state.
        square: float32 scalar, the sum of the squares of all gradients.
        loss: float32 scalar, or None.

    Returns:
        Tuple `(usual, guard)`: bool scalar, and the state with the step counted.
    """
    parts = _parts(guard)
    norm = ops.sqrt(ops.maximum(square, 1e-30))
    finite = ops.isfinite(norm)
    if loss is not None:
        finite = ops.logical_and(finite, ops.isfinite(loss))
    # Gradients of zero (batches that are masked, losses with a margin) tell nothing.
    counts = ops.logical_and(finite, square > 0.0)
    norm = ops.where(counts, norm, parts["norm"])
    limit = ops.where(parts["norms"] >= NORMS_WARM, SPIKE, FIRST_SPIKE)
    limit = ops.cast(limit, "float32") * parts["norm"]
    spike = ops.logical_and(parts["norms"] > 0.0, norm > limit)
    usual = ops.logical_and(finite, ops.logical_not(spike))
    counts = ops.logical_and(counts, usual)
    share = ops.maximum(1.0 - NORM_DECAY, 1.0 / (parts["norms"] + 1.0))
    mean = parts["norm"] + share * (norm - parts["norm"])
    kept = ops.where(spike, 2.0 * parts["norm"], parts["norm"])
    parts["norm"] = ops.where(counts, mean, kept)
    parts["norms"] = parts["norms"] + _as_number(counts)
    return usual, count_skipped(_vector(parts), ops.logical_not(usual))


def count_skipped(guard, skipped):
    """Returns the state with a skipped step counted, if `skipped`, a bool scalar."""
    parts = _parts(guard)
    parts["skipped_steps"] = parts["skipped_steps"] + _as_number(skipped)
    return _vector(parts)


def was_taken(before, after):
    """Whether the step between two states was taken; bool scalar."""
    place = NAMES.index("skipped_steps")
    return ops.equal(before[place], after[place])


def undecayed(state, new_state, parameters, new_parameters):
    """Returns the new parameters, or the old ones if the step was skipped."""
    taken = was_taken(state["guard"], new_state["guard"])
    pairs = zip(new_parameters, parameters, strict=True)
    return [ops.where(taken, after, before) for after, before in pairs]


def rising_loss(guard, loss, known):
    """Whether the loss rises against its own recent spread.

    Args:
        guard: the state.
        loss: float32 scalar; only read where `known`.
        known: bool scalar.

    Returns:
        Tuple `(rising, guard)`.
    """
    parts = _parts(guard)
    loss = ops.where(known, loss, parts["fast"])
    fresh = parts["losses"] == 0.0
    fast = ops.where(fresh, loss, FAST * parts["fast"] + (1.0 - FAST) * loss)
    slow = ops.where(fresh, loss, SLOW * parts["slow"] + (1.0 - SLOW) * loss)
    square = SPREAD * parts["square"] + (1.0 - SPREAD) * ops.square(loss - fast)
    spread = ops.sqrt(parts["square"] + 1e-30)
    rising = ops.logical_and(parts["losses"] >= WARM, fast - slow > RISE * spread)
    rising = ops.logical_and(rising, known)
    for name, value in (("fast", fast), ("slow", slow), ("square", square)):
        parts[name] = ops.where(known, value, parts[name])
    parts["losses"] = parts["losses"] + _as_number(known)
    parts["loss_rises"] = parts["loss_rises"] + _as_number(rising)
    return rising, _vector(parts)


def trust_after(guard, rising, bounded):
    """Returns how far the learned step is trusted now, in [0, 1], and the state.

    Trouble halves the trust; each step without takes back a two-hundredth of what is
    missing.

    Args:
        guard: the state.
        rising: bool scalar, see `rising_loss`.
        bounded: bool scalar, whether a step was larger than it may be.
    """
    parts = _parts(guard)
    trouble = ops.logical_or(rising, bounded)
    distrust = parts["distrust"]
    parts["distrust"] = ops.where(trouble, 0.5 + 0.5 * distrust, RECOVERY * distrust)
    parts["bounded_steps"] = parts["bounded_steps"] + _as_number(bounded)
    return 1.0 - parts["distrust"], _vector(parts)


def held(guard, sizes, log_factors, loss):
    """Returns the learned factors as far as they are trusted, and the state.

    Where a tensor's direction is larger than 1.5, which steady gradients never make
    it, a factor above 1 is dropped, and trust is lost.

    Args:
        guard: the state.
        sizes: float32 `(tensors,)`, root mean squares of Adam's directions.
        log_factors: float32 `(tensors,)`, logarithms of the factors on Adam's rate.
        loss: pair `(value, known)` of float32 scalars.
    """
    rising, guard = rising_loss(guard, loss[0], loss[1] > 0.0)
    beyond = ops.logical_and(sizes > LARGEST_DIRECTION, log_factors > 0.0)
    trust, guard = trust_after(guard, rising, ops.any(beyond))
    return trust * ops.where(beyond, 0.0 * log_factors, log_factors), guard


def counters_of(optimizer):
    """Returns `{"trust": float, "skipped_steps": int, ...}`; {} if there is no guard.

    Args:
        optimizer: `LearnedOptimizer` whose state holds `"guard"`.
    """
    values = dict(zip(optimizer._state_keys, optimizer._state_variables, strict=True))
    guard = values.get(("guard", None))
    if guard is None:
        return {}
    parts = dict(zip(NAMES, ops.convert_to_numpy(guard), strict=True))
    counters = {name: int(parts[name]) for name in COUNTERS}
    return {"trust": float(1.0 - parts["distrust"]), **counters}


def _as_number(condition):
    return ops.cast(condition, "float32")


def _parts(guard):
    return dict(zip(NAMES, ops.unstack(guard, len(NAMES)), strict=True))


def _vector(parts):
    return ops.stack([parts[name] for name in NAMES])
