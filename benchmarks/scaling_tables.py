"""The tables of growing cost, and their plot.

python benchmarks/scaling_tables.py    # draws results/cost_growth.png
"""

import math

import numpy as np
from table_parts import HERE, load, machine_line, markdown, with_quartiles

PLOT = HERE / "results" / "cost_growth.png"
PANEL = (3.2, 2.7)  # inches
COLUMNS = 4
GIGABITS = (1, 10, 100)  # a second
WORKERS = (2, 8, 32)
NO_LINE = 0.25  # of a value: points further off lie on no line worth a slope


def scaling():
    """Meta-steps a second of one process and of two, and what they send."""
    results = load("scaling")
    rows = [
        [
            row["workload"],
            f"{row['one_process_steps_a_second']['median']:,.1f}",
            f"{row['two_processes_steps_a_second']['median']:,.1f}",
            with_quartiles(row["ratio"]),
            len(row["message_bytes"]),
            f"{sum(row['message_bytes']):,}",
        ]
        for row in results["results"]
    ]
    header = [
        "",
        "one process, meta-steps a second",
        "two processes",
        "ratio (quartiles)",
        "messages a meta-step",
        "bytes",
    ]
    return (
        f"{markdown(header, rows)}\n\nA core for each process, messages over the "
        f"loopback; medians of {results['rounds']} rounds. "
        f"{machine_line(results['machine'])}"
    )


def _places():
    """Yields `(curve, name, measure)` of the recorded curves."""
    for result in load("cost_growth")["results"]:
        for name, measure in result["measures"].items():
            yield result, name, measure


def cost_growth():
    """Lines through the curves: slope, intercept, residual, power, bend."""
    results = load("cost_growth")
    rows = []
    for result, name, measure in _places():
        points = measure["points"]
        bend = measure["bend"]
        medians = [point["median"] for point in points]
        rows.append(
            [
                f"{result['curve']} {points[0]['x']:,} to {points[-1]['x']:,}",
                result["way"],
                name,
                f"{_short(min(medians))} to {_short(max(medians))}",
                *_line_cells(measure),
                f"{measure['exponent']:.2f}",
                f"{bend['x']:,} ({100 * bend['off']:+.0f} %)" if bend else "no",
            ]
        )
    header = [
        "what grows",
        "computed by",
        "cost",
        "least, most",
        "slope",
        "intercept",
        "off the line, at most",
        "power",
        "bends at",
    ]
    return (
        f"{markdown(header, rows)}\n\nThe line is that of least relative residuals, "
        "through the points that are computed in one way; the power is the slope of a "
        "line through the logarithms, which an intercept makes smaller than 1. It "
        f"bends at the first point that is more than {100 * results['bent']:.0f} % off "
        "the line through the smaller ones (here: by so much). Memory is the peak over "
        "what packages hold, compiling included. One core; a process for each point, "
        f"in turns; medians of {results['rounds']} rounds, 3 of "
        f"searches. {machine_line(results['machine'])}"
    )


def _line_cells(measure):
    """Returns slope, intercept and residual, or says that there is no line."""
    off = f"{100 * measure['largest_relative_residual']:.0f} %"
    if measure["largest_relative_residual"] > NO_LINE:
        return ["no line", "", off]
    return [_short(measure["slope"]), _short(measure["intercept"]), off]


def _short(number):
    """Returns three digits of a number, and all of those before its point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def send_seconds(rows):
    """Returns what a send costs by itself, measured over the loopback.

    It is at most that: what two processes need beyond half of one's time, for each of
    a ring's two sends a message, of the workload with the fewest bytes.
    """
    row = min(rows, key=lambda row: sum(row["message_bytes"]))
    one = 1.0 / row["one_process_steps_a_second"]["median"]
    two = 1.0 / row["two_processes_steps_a_second"]["median"]
    return max(two - one / 2, 0.0) / (2 * len(row["message_bytes"]))


def communication(workers, size, messages, bandwidth, latency):
    """Returns the seconds of ring all-reduces of `size` bytes together.

    Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations": 2 (n - 1) sends of an n-th part each.
    """
    sends = 2 * (workers - 1)
    return sends / workers * size / bandwidth + messages * sends * latency


def network_bound():
    """Expected speed on a cluster, and where communication takes half of a step."""
    results = load("scaling")
    latency = send_seconds(results["results"])
    rows = []
    for row in results["results"]:
        one = 1.0 / row["one_process_steps_a_second"]["median"]
        messages, size = len(row["message_bytes"]), sum(row["message_bytes"])
        for gigabits in GIGABITS:
            link = (size, messages, gigabits * 1e9 / 8, latency)
            speeds = [one / (one / n + communication(n, *link)) for n in WORKERS]
            rows.append(
                [
                    row["workload"],
                    f"{gigabits} Gbit/s",
                    f"{row['ratio']['median']:.2f}",
                    *[f"{speed:.1f}" for speed in speeds],
                    _binds_from(one, link),
                    f"{100 * _share(one, WORKERS[-1], link):.0f} %",
                ]
            )
    header = [
        "",
        "link",
        "measured, 2 processes of one machine",
        *[f"speed-up, {n} workers" for n in WORKERS],
        "network binds from",
        f"network's share, {WORKERS[-1]} workers, full meta-batch each",
    ]
    return (
        f"{markdown(header, rows)}\n\nReckoned, not measured, by the formula above, "
        "from the measured times of one process and "
        f"{1e6 * latency:.0f} µs a send, which is what two processes of the smallest "
        "workload lost over the loopback; your network's own latency comes on top. "
        "What the measured speed-up falls short of the reckoned one is what the "
        "formula leaves out. The network binds from the number of workers at which it "
        "takes longer than computing."
    )


def _binds_from(one, link):
    """Returns the fewest workers with which communication is longer than computing."""
    for workers in range(2, 10_000):
        if communication(workers, *link) > one / workers:
            return f"{workers} workers"
    return "more than 10,000 workers"


def _share(one, workers, link):
    sent = communication(workers, *link)
    return sent / (one + sent)


def draw():
    """Draws a panel for each curve and cost, with its line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    places = list(_places())
    count = math.ceil(len(places) / COLUMNS)
    figure, panels = plt.subplots(
        count,
        COLUMNS,
        figsize=(PANEL[0] * COLUMNS, PANEL[1] * count),
        layout="constrained",
        squeeze=False,
    )
    for axes, (result, name, measure) in zip(panels.flat, places, strict=False):
        x = [point["x"] for point in measure["points"]]
        y = [point["median"] for point in measure["points"]]
        between = np.geomspace(x[0], x[-1], 100)
        line = measure["slope"] * between + measure["intercept"]
        if measure["largest_relative_residual"] <= NO_LINE:
            axes.plot(between, line, linewidth=1.3, color="grey")
        axes.plot(x, y, "o", color="teal")
        if measure["bend"]:
            axes.axvline(measure["bend"]["x"], linestyle=":", color="firebrick")
        axes.set_xscale("log")
        axes.set_xticks(x[::2], [f"{value:,}" for value in x[::2]])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        if name.startswith("memory"):
            axes.set_ylim(0, 1.1 * max(y))
        else:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set(xlabel=result["of"], ylabel=name)
        axes.set_title(result["curve"], fontsize="medium")
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(places) :]:
        axes.set_visible(False)
    figure.savefig(PLOT, dpi=100, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw()
