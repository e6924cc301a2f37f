"""Says what of the past a search does not use, and why."""

import logging

LOGGER = logging.getLogger("keras_meta.tuner")


def tell_unused(past, tasks, reasons, objective, names, rename):
    """Logs a warning where past searches were expected and are of no use.

    Args:
        past: list of `PastTask`, all that there are.
        tasks: list, those of them that are used.
        reasons: dict of reason to number, see `comparable_tasks`.
        objective: `keras_tuner.Objective`.
        names: list of str, the hyperparameters of this search.
        rename: dict from names there to names here.
    """
    if past and not tasks:
        LOGGER.warning(
            "None of %d past searches can be used; the search goes on without. Left "
            "out: %s. The objective is %s (%s), the hyperparameters are %s.",
            len(past),
            reasons,
            objective.name,
            objective.direction,
            names,
        )
    elif reasons:
        LOGGER.info("Past searches used: %d. Left out: %s", len(tasks), reasons)
    old = {entry["config"]["name"] for task in past for entry in task.space}
    for before, now in rename.items():
        if past and (before not in old or now not in names):
            LOGGER.warning(
                "rename={%r: %r} does nothing: it goes from a name in past searches, "
                "%s, to one of this search, %s.",
                before,
                now,
                sorted(old),
                names,
            )
