"""The picture of `importance()`: bars, and the response along important axes."""

import numpy as np

AXES = 3
BARS = 12
COLOR = "#2c5aa0"


def draw(found, path):
    """Draws an `Importance` as a PNG.

    Args:
        found: `Importance`.
        path: where the PNG goes.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    # Lazily: only the demo's extra installs it. No window is opened.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = found.names[:BARS]
    count = min(len(names), AXES)
    figure = Figure(figsize=(4.0 + 3.2 * count, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + count, squeeze=False)[0]
    _bars(panels[0], found, names)
    for panel, name in zip(panels[1:], names, strict=False):
        _response(panel, name, *found.responses[name])
    panels[1].set_ylabel("response, standard deviations of scores")
    figure.savefig(path, dpi=150)


def _bars(panel, found, names):
    rows = np.arange(len(names))
    total = np.array([found.total[name] for name in names])
    alone = [found.alone[name][0] for name in names]
    errors = np.abs(total[:, 1:] - total[:, :1]).T
    panel.barh(rows, total[:, 0], xerr=errors, color=COLOR, alpha=0.35, label="in all")
    panel.barh(rows, alone, height=0.4, color=COLOR, label="alone")
    panel.set_yticks(rows, names)
    panel.invert_yaxis()
    panel.set_xlim(0.0, 1.0)
    panel.set_xlabel("share of the variance of scores")
    tasks = len(found.tasks)
    panel.set_title(f"{tasks} search{'es' * (tasks != 1)}")
    panel.legend(loc="lower right", fontsize=8)


def _response(panel, name, values, mean, low, high):
    is_number = all(type(v) in (int, float) for v in values)
    places = np.array(values, float) if is_number else np.arange(len(values))
    panel.fill_between(places, low, high, color=COLOR, alpha=0.2)
    panel.plot(places, mean, "-o" if len(values) < 8 else "-", color=COLOR)
    if not is_number:
        panel.set_xticks(places, [str(v) for v in values])
    elif places.min() > 0.0 and places.max() / places.min() > 50.0:
        panel.set_xscale("log")
    panel.set_title(name)
    panel.grid(alpha=0.3)
