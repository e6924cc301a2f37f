"""The README's tables of searches on LCBench, and their plot.

python benchmarks/search_tables.py    # draws results/lcbench.png
"""

import json

import numpy as np
import scipy.stats
from table_parts import HERE, load, machine_line, markdown

SHOWN = (1, 3, 5, 10, 25, 50)
_TRIALS = ["1 trial", *[f"{n} trials" for n in SHOWN[1:]]]
RANKED = (10, 25, 50)
PLOT = HERE / "results" / "lcbench.png"
REFERENCE = "BayesianOptimization"
PLOT_SIZE = (8.0, 4.5)  # inches
# For the cost of a suggestion alone: its choices are those of the faster one.
AS_SHIPPED = "BayesianOptimization_as_shipped"


def _results():
    """Returns dict of `(method, past)` to the result of a program's run."""
    files = sorted((HERE / "results" / "lcbench").glob("*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {(r["method"], r["past"]): r for r in results}


def _regrets(result):
    """Returns dict of `(data set, seed)` to the curve of regret, `(trials,)`."""
    return {
        (row["dataset"], row["seed"]): np.array(row["regret"]) for row in result["rows"]
    }


def _means(result):
    """Returns cells: mean regret and its 95 % interval at `SHOWN` trials."""
    curves = np.stack(list(_regrets(result).values()))[:, np.array(SHOWN) - 1]
    half = 1.96 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
    return [
        f"{mean:.3f} ± {ci:.3f}"
        for mean, ci in zip(curves.mean(axis=0), half, strict=True)
    ]


def _ranks(results):
    """Returns dict of method to its mean rank at `RANKED` trials; 1 is the best."""
    regrets = {method: _regrets(result) for method, result in results.items()}
    searches = sorted(set.intersection(*map(set, regrets.values())))
    curves = np.array([[of[search] for search in searches] for of in regrets.values()])
    ranks = scipy.stats.rankdata(curves[:, :, np.array(RANKED) - 1], axis=0)
    return dict(zip(regrets, ranks.mean(axis=1), strict=True))


def _label(method):
    return method.replace("_", " ")


def lcbench():
    """Methods that start from the past, and that do not."""
    results = {
        method: result
        for (method, past), result in _results().items()
        if past == "sound" and method != AS_SHIPPED
    }
    ranks = _ranks(results)
    reference = None
    if REFERENCE in results:
        curves = _regrets(results[REFERENCE]).values()
        reference = np.mean([curve[-1] for curve in curves])
    rows = []
    for method, result in results.items():
        mean = np.mean(list(_regrets(result).values()), axis=0)
        reached = np.flatnonzero(mean <= reference) if reference else []
        rows.append(
            [
                _label(method),
                *_means(result),
                " / ".join(f"{rank:.1f}" for rank in ranks[method]),
                reached[0] + 1 if len(reached) else "",
                f"{np.mean([row['seconds'] for row in result['rows']]):.3f}",
            ]
        )
    rows.sort(key=lambda row: row[4])
    header = [
        "",
        *_TRIALS,
        f"mean rank at {' / '.join(map(str, RANKED))}",
        f"trials to {REFERENCE}'s 50",
        "s a suggestion",
    ]
    count = len(next(iter(results.values()))["rows"])
    shipped = _results().get((AS_SHIPPED, "sound"))
    note = ""
    if shipped:
        seconds = np.mean([row["seconds"] for row in shipped["rows"]])
        note = (
            f" {REFERENCE} is KerasTuner's with a faster regressor; as it ships it "
            f"takes {seconds:.1f} s a suggestion."
        )
    first = next(iter(results.values()))
    return (
        f"{markdown(header, rows)}\n\nNormalised regret of validation accuracy, mean "
        f"of {count} searches with 95 % intervals.{note} "
        f"{machine_line(first['machine'])}"
    )


def lcbench_pasts():
    """MetaOracle where the past is missing, poor or wrong."""
    shown = {
        "sound": "as it was",
        "none": "none",
        "three_tasks": "three tasks alone",
        "shuffled": "scores shuffled within each task",
        "negated": "scores negated",
    }
    results = _results()
    rows = []
    for past, label in shown.items():
        result = results.get(("MetaOracle", past))
        if result:
            rows.append([label, len(result["rows"]), *_means(result)])
    header = ["past", "searches", *_TRIALS]
    return f"{markdown(header, rows)}\n\nMetaOracle, as above."


def pool_scale():
    """Seconds to import many searches, and to suggest from them."""
    results = load("pool_scale")
    rows = [
        [
            f"{row['tasks']:,}",
            f"{row['pool_mib']:.0f} MiB",
            f"{row['import_seconds']:.1f} s",
            f"{row['import_again_seconds']:.1f} s",
            f"{row['first_suggestion_seconds']:.1f} s",
            f"{row['first_suggestion_of_next_seconds']:.1f} s",
            f"{row['suggestion_seconds']:.3f} s",
        ]
        for row in results["rows"]
    ]
    header = [
        "past searches",
        "pool",
        "import",
        "import again",
        "first suggestion",
        "first of the next search",
        "a suggestion",
    ]
    return (
        f"{markdown(header, rows)}\n\n{results['trials']} trials each, read from "
        "KerasTuner's project folders. The first suggestion pretrains the prior, which "
        f"the pool keeps for later searches. {machine_line(results['machine'])}"
    )


def draw():
    """Draws mean regret by trial."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=PLOT_SIZE, layout="constrained")
    curves = {
        method: np.mean(list(_regrets(result).values()), axis=0)
        for (method, past), result in _results().items()
        if past == "sound" and method != AS_SHIPPED
    }
    for method in sorted(curves, key=lambda name: curves[name][-1]):
        curve, own = curves[method], method == "MetaOracle"
        trials = np.arange(1, len(curve) + 1)
        axes.plot(trials, curve, label=_label(method), linewidth=3.0 if own else 1.3)
    axes.set(
        xlabel="trials",
        ylabel="normalised regret",
        yscale="log",
        title="LCBench: 10 new data sets, 24 searched before",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(PLOT, dpi=120, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw()
