"""The picture of what a search trusted, trial by trial."""

import pathlib

import numpy as np

TASKS = 12
LONGEST_NAME = 28


def draw(trust, path):
    """Draws `MetaOracle.trust` as a PNG: the priors' weights, and past tasks'.

    Args:
        trust: list of dicts, see `MetaOracle`; not empty.
        path: where the PNG goes.

    Raises:
        ModuleNotFoundError: without matplotlib.
        ValueError: if there is nothing to draw, or no such folder.
    """
    if not trust:
        raise ValueError(
            "There is no trust to plot yet: no trial was suggested by the priors. The "
            "first one, or without past searches the first six, come before them."
        )
    if not pathlib.Path(path).parent.is_dir():
        raise ValueError(
            f"Argument `path` must lie in an existing folder. Received: {str(path)!r}."
        )
    # Lazily: only the demo's extra installs it. No window is opened.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trials = [entry["trial_id"] for entry in trust]
    tasks = _most_trusted(trust)
    rows = 2 if tasks else 1
    figure = Figure(figsize=(8.0, 2.6 + 0.28 * len(tasks)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        rows,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[2.0, 1.0 + len(tasks) / 5][:rows],
    )[:, 0]
    places = np.arange(len(trials))
    # Of a space that grew, early trials may have had no past.
    names = list(dict.fromkeys(name for entry in trust for name in entry["priors"]))
    shares = [[entry["priors"].get(name, 0.0) for entry in trust] for name in names]
    panels[0].stackplot(places, shares, labels=names, alpha=0.8)
    panels[0].set(ylabel="weight of priors", ylim=(0.0, 1.0))
    panels[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    if tasks:
        weights = np.array(
            [[entry["tasks"].get(task, 0.0) for entry in trust] for task in tasks]
        )
        reach = max(np.abs(weights).max(), 1e-9)
        image = panels[1].imshow(
            weights, aspect="auto", cmap="RdBu", vmin=-reach, vmax=reach
        )
        panels[1].set_yticks(range(len(tasks)), [_short(task) for task in tasks])
        panels[1].tick_params(axis="y", labelsize=8)
        figure.colorbar(image, ax=panels[1], label="weight of past tasks")
    every = max(1, len(trials) // 12)
    panels[-1].set_xticks(places[::every], trials[::every])
    panels[-1].set_xlabel("trial")
    figure.savefig(path, dpi=150)


def _most_trusted(trust):
    """Returns the names of the past tasks with the greatest weights, greatest first."""
    total = {}
    for entry in trust:
        for task, weight in entry["tasks"].items():
            total[task] = total.get(task, 0.0) + abs(weight)
    return sorted(total, key=lambda task: -total[task])[:TASKS]


def _short(name):
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
