"""The demo's pictures: adaptation curves, and the learned rates by layer."""

import numpy as np

STYLES = {
    "MetaSGD": ("#0b7a3b", "-", 2.6),
    "Adam": ("#c0392b", "-", 1.5),
    "SGD": ("#2c5aa0", "-", 1.5),
}


def adaptation_curves(results, path):
    """Draws accuracy against inner steps, one panel for each number of shots.

    Args:
        results: `Results`.
        path: where the PNG goes.
    """
    figure, panels = _figure(len(next(iter(results.rows.values()))))
    for panel, shots in zip(panels, next(iter(results.rows.values())), strict=True):
        for method, row in results.rows.items():
            start, _, name = method.rpartition(", ")
            color, line, width = STYLES[name]
            line = "--" if start == "from scratch" else line
            mean, interval = np.array(row[shots]["mean"]), np.array(row[shots]["ci95"])
            steps = np.arange(len(mean))
            panel.plot(steps, mean, line, color=color, linewidth=width, label=method)
            panel.fill_between(
                steps, mean - interval, mean + interval, color=color, alpha=0.15
            )
        panel.set_title(f"{shots} example{'s' * (shots != '1')} of each class")
        panel.set_xlabel("steps on the support set")
        panel.set_ylim(0.0, 1.0)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on digits never seen")
    panels[-1].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)


def learned_rates(optimizer, path):
    """Draws the distribution of the learned rates of each variable.

    Args:
        optimizer: `MetaSGD` with learned rates.
        path: where the PNG goes.
    """
    figure, (panel,) = _figure(1)
    theta = optimizer.theta_values()
    rates = [np.ravel(a) for name, a in theta.items() if name.startswith("rate/")]
    names = ["/".join(s.path.split("/")[-2:]) for s in optimizer.parameter_specs]
    labels = [
        f"{name}\n{100 * np.mean(rate < 0):.0f} % negative"
        for name, rate in zip(names, rates, strict=True)
    ]
    panel.axhline(0.0, color="black", linewidth=1)
    panel.boxplot(rates, whis=(5, 95), showfliers=False)
    panel.set_xticks(range(1, len(labels) + 1), labels, fontsize=7)
    panel.set_ylabel("learned rate (box: quartiles, whiskers: 5 to 95 %)")
    panel.set_title("Learned rates by layer")
    panel.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=150)


def _figure(num_panels):
    # Here: only the demo's extra installs it; `run.main` says so if it is missing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(8.0, 5.0 * num_panels), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, num_panels, sharey=True, squeeze=False)[0]
    return figure, list(panels)
