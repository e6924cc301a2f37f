"""Stops trials early that past learning curves say will not be the best."""

import numpy as np

REDUCTION = 3
MIN_PAIRS = 8  # curves from which a prediction is learned
Z_95 = 1.645  # one-sided
FIRST_RUNG = 1


class EarlyStopping:
    """Decides after an epoch whether a trial goes on.

    Rungs are after 1, 3, 9, 27, ... epochs (successive halving: Jamieson & Talwalkar
    2016; asynchronous as in ASHA: Li et al. 2020). A trial stops at a rung if it is not
    among the best third that got there, and, where enough learning curves are known,
    if its predicted final score, with its 95 % bound, stays below the best so far
    (Domhan et al. 2015 extrapolate single curves; here the relation of a rung's scores
    to final ones is learned from past searches and this one). The best trial so far is
    never stopped.

    Args:
        past_curves: list of lists of curves, one list for each past task: a curve is a
            list of scores by epoch, higher is better.
    """

    def __init__(self, past_curves=()):
        self.past = [_normalised(curves) for curves in past_curves]

    def stops(self, curve, own_curves, final_scores):
        """Returns whether a trial stops now.

        Args:
            curve: list of float, the trial's scores by epoch so far, higher is better.
            own_curves: list of such lists, of the search's other trials.
            final_scores: list of float, those of its finished trials that ran to their
                end.

        Returns:
            bool.
        """
        epoch = len(curve)
        if not is_rung(epoch) or not final_scores:
            return False
        if not np.isfinite(curve).any():
            return True
        reached = np.nanmax(curve)
        if reached >= max(final_scores):
            return False  # the best so far
        others = [
            np.nanmax(c[:epoch])
            for c in own_curves
            if len(c) >= epoch and np.isfinite(c[:epoch]).any()
        ]
        if len(others) + 1 < REDUCTION:
            return False
        better = sum(other > reached for other in others)
        if better < (len(others) + 1) / REDUCTION:
            return False
        predicted = self.predicted(curve, own_curves)
        return predicted is None or sum(predicted) < max(final_scores)

    def predicted(self, curve, own_curves):
        """Returns a trial's final score, and how much more it may be, or None.

        Returns:
            Tuple of floats: the prediction, and the distance to its upper 95 % bound;
            None if too few curves are known.
        """
        epoch = len(curve)
        offset, scale = _offset_and_scale(own_curves)
        if scale is None:
            return None
        pairs = [
            (np.nanmax(c[:epoch]), np.nanmax(c))
            for curves in [*self.past, _normalised(own_curves)]
            for c in _whole(curves)
            if len(c) > epoch and np.isfinite(c[:epoch]).any()
        ]
        if len(pairs) < MIN_PAIRS:
            return None
        early, last = np.array(pairs).T
        gains = last - early
        # A line of gains over early scores, and the spread about it.
        design = np.c_[np.ones(len(early)), early]
        gram = design.T @ design + 1e-3 * np.eye(2)
        weights = np.linalg.solve(gram, design.T @ gains)
        spread = (gains - design @ weights).std(ddof=2)
        here = (np.nanmax(curve) - offset) / scale
        final = here + max(weights @ (1.0, here), 0.0)
        return offset + scale * final, scale * Z_95 * spread


def _whole(curves):
    """Returns the curves that did not end at a rung, where poor trials are stopped."""
    longest = max(map(len, curves), default=0)
    return [c for c in curves if len(c) == longest or not is_rung(len(c))]


def is_rung(epoch):
    """Returns whether trials are compared after so many epochs: 1, 3, 9, ..."""
    rung = FIRST_RUNG
    while rung < epoch:
        rung *= REDUCTION
    return rung == epoch


def curves_of(task, sign):
    """Returns the learning curves of a `PastTask`, higher is better.

    Args:
        task: `PastTask`.
        sign: 1.0, or -1.0 where lower scores are better.
    """
    curves = []
    for trial in task.trials:
        observations = trial.metrics.get(task.objective, {}).get("observations", [])
        curve = [np.nan if value is None else sign * value for _, value in observations]
        if len(curve) > 1:
            curves.append(curve)
    return curves


def _offset_and_scale(curves):
    """Returns median and spread of the curves' best scores; scale None: too few."""
    finals = [np.nanmax(c) for c in curves if len(c) and np.isfinite(c).any()]
    if len(finals) < REDUCTION:
        return 0.0, None
    scale = np.subtract(*np.quantile(finals, [0.9, 0.1]))
    return float(np.median(finals)), (float(scale) if scale > 0.0 else None)


def _normalised(curves):
    """Returns curves in units of their task's final scores; none, if these are few."""
    offset, scale = _offset_and_scale(curves)
    if scale is None:
        return []
    return [
        (np.asarray(curve, float) - offset) / scale
        for curve in curves
        if len(curve) and np.isfinite(curve).any()
    ]
