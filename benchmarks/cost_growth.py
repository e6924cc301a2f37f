"""Time and peak memory as tasks, inner steps, weights and past trials grow.

Each point runs in a process of its own, on one core; the points of a curve take turns,
and medians are compared. Every curve gets a line with an intercept through the points
that are computed in one way, its largest relative residual, the power of a fit of
logarithms, and the first point that is off the line through the smaller ones. Curves
that are not named stay as recorded. Writes `results/cost_growth.json`, of which
`scaling_tables.py` draws the plot.

    python benchmarks/cost_growth.py [--rounds 7] [--curves NAME ...] [--quick]
"""

import argparse
import dataclasses
import json
import os
import pathlib

import numpy as np
from line_fits import BENT, fitted
from recording import kept, machine, percentiles, write_json
from turns import Worker

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "growth_workers.py"
SEARCH_ROUNDS = 3  # at most: a turn takes seconds
QUICK = 3  # points


@dataclasses.dataclass(frozen=True)
class Curve:
    """What grows, and how many meta-steps a turn takes: `work / x`, within limits."""

    name: str
    of: str
    points: tuple
    work: int = 0
    steps: tuple = (1, 1)
    times: tuple = ("meta-step",)

    def turn(self, x):
        return int(np.clip(self.work // x, *self.steps))


CURVES = (
    Curve("conv tasks", "tasks", (4, 8, 16, 32, 64), 80, (2, 20)),
    Curve("dense tasks", "tasks", (4, 8, 16, 32, 64, 128, 256), 0, (200, 200)),
    Curve("conv inner steps", "inner steps", (1, 2, 4, 8, 16, 32), 60, (2, 20)),
    Curve("dense inner steps", "inner steps", (1, 2, 4, 8, 16, 32), 0, (100, 100)),
    Curve("the same, 3 tasks", "inner steps", (1, 2, 4, 8, 16, 32), 0, (100, 100)),
    Curve(
        "dense parameters",
        "weights",
        tuple((width + 2) ** 2 - 3 for width in (30, 60, 120, 250, 500, 1000)),
        2_000_000,
        (5, 200),
    ),
    Curve("optimizer parameters", "weights", (64, 256, 1024, 4096), 2000, (1, 20)),
    Curve("optimizer unroll", "steps", (5, 10, 20, 40, 80), 200, (2, 40)),
    Curve(
        "past trials",
        "past trials",
        (200, 400, 800, 1600, 3200, 6400),
        times=("first suggestion", "suggestion"),
    ),
)


class Point(Worker):
    """The process of one point; it answers with JSON."""

    def _line(self):
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"A point ended with {self.failure()}")
        return json.loads(text)

    def end(self):
        """Returns the list of seconds of the turn that `begin` began."""
        seconds = self._line()
        return seconds if isinstance(seconds, list) else [seconds / self.steps]

    def conclusion(self):
        """Ends the process; returns the dict that it says at its end."""
        self.process.stdin.close()
        last = self._line()
        self.process.wait()
        self.errors.close()
        return last


def measure(curve, points, rounds, core):
    """Returns what the JSON says of one curve."""
    workers = [
        Point(PROGRAM, [curve.name, f"--x={x}", f"--core={core}"], curve.turn(x))
        for x in points
    ]
    for x, worker in zip(points, workers, strict=True):
        reason = worker.failure()
        if reason is not None:
            raise RuntimeError(f"{curve.name}, {x} {curve.of}, ended with {reason}")
    seconds = np.array(
        [[worker.turn() for worker in workers] for _ in range(rounds)]
    )  # (rounds, points, times)
    ends = [worker.conclusion() for worker in workers]
    ways = [end["way"] for end in ends]
    alike = next((i for i, way in enumerate(ways) if way != ways[0]), len(ways))
    measures = {}
    for index, name in enumerate(curve.times):
        times = [percentiles(column) for column in 1e3 * seconds[:, :, index].T]
        measures[f"{name}, ms"] = with_line(points, times, alike)
    memory = [{"median": end["mebibytes"]} for end in ends]
    measures["memory, MiB"] = with_line(points, memory, alike)
    return {
        "curve": curve.name,
        "of": curve.of,
        "way": told_way(points, ways),
        "measures": measures,
    }


def with_line(points, values, alike):
    """Returns the points, and the line through the first `alike` of them."""
    rows = [{"x": x, **value} for x, value in zip(points, values, strict=True)]
    medians = [row["median"] for row in rows[:alike]]
    return {"points": rows, **fitted(points[:alike], medians)}


def told_way(points, ways):
    """Returns how meta-steps were computed, and from which point otherwise."""
    told = ways[0]
    for x, before, way in zip(points[1:], ways, ways[1:], strict=False):
        if way != before:
            told += f", {way} from {x:,}"
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    names = [curve.name for curve in CURVES]
    parser.add_argument("--curves", nargs="+", choices=names, default=names)
    parser.add_argument("--output", default=HERE / "results" / "cost_growth.json")
    options = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    results = kept(options.output, "curve", options.curves, options.rounds)
    for curve in CURVES:
        if curve.name not in options.curves:
            continue
        rounds = 1 if options.quick else options.rounds
        if curve.name == "past trials":
            rounds = min(rounds, SEARCH_ROUNDS)
        points = curve.points[:QUICK] if options.quick else curve.points
        results.append(measure(curve, points, rounds, core))
        print(results[-1], flush=True)
        results.sort(key=lambda result: names.index(result["curve"]))
        write_json(
            options.output,
            {
                "machine": machine(),
                "rounds": options.rounds,
                "bent": BENT,
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
