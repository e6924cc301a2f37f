"""Warm-started search on LCBench: MetaOracle beside others.

24 data sets have been searched before, by 100 random trials each, drawn anew for each
of 5 seeds; 10 others are searched now, 50 trials each. Regret is normalised: (best
possible - best so far) / (best possible - median of random trials). What was chosen
for MetaOracle was chosen on the 24 alone: on `--part development`, 8 of them as
targets, and with each third of them as targets. Continues where it was stopped; writes
`results/lcbench/METHOD[_PAST].json`.

    python benchmarks/lcbench.py [METHOD ...] [--past PAST ...] [--list] [--quick]

The past is as it was, or made poor or wrong (`PASTS`). KerasTuner's
BayesianOptimization as it ships takes seconds a suggestion, and runs only when named.
It reads the folder `lcbench` in `KERAS_META_DATA`, and needs the packages of
`pip install 'keras_meta[bench]'`.
"""

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np
from lcbench_peers import AS_SHIPPED, METHODS, OBJECTIVE, TRIALS, Past
from lcbench_tables import LCBench, hyperparameters, split
from recording import machine, write_json

import keras_meta
from keras_meta.tuner.search_space import SearchSpace

HERE = pathlib.Path(__file__).parent
PAST_TRIALS = 100
SEEDS = 5
# What the past is: as it was, or made poor or wrong.
PASTS = ("sound", "none", "shuffled", "negated", "three_tasks")


def past_of(folder, bench, space, sources, seed, past):
    """Returns the `Past`: random trials of the source data sets, and their pool."""
    generator = np.random.default_rng(1000 + seed)
    tasks = []
    for dataset in sources:
        points = space.sample(generator, PAST_TRIALS)
        scores = bench.scores(dataset, bench.rows(space, points))
        if past == "shuffled":
            scores = generator.permutation(scores)
        elif past == "negated":
            scores = -scores
        rows = [space.values(point) for point in points]
        tasks.append((dataset, rows, [float(score) for score in scores]))
    if past == "three_tasks":
        tasks = [tasks[i] for i in generator.permutation(len(tasks))[:3]]
    if past == "none":
        tasks = []
    pool = keras_meta.tuner.ExperiencePool(f"{folder}/past.sqlite")
    for dataset, rows, scores in tasks:
        trials = [
            {"values": values, "score": score}
            for values, score in zip(rows, scores, strict=True)
        ]
        pool.add(dataset, hyperparameters(), trials, OBJECTIVE)
    return Past(tasks, pool, seed)


def search(method, bench, dataset, trials):
    """Returns the score of each trial, and the seconds of each suggestion."""
    scores, seconds = [], []
    for _ in range(trials):
        begin = time.process_time()
        values = method.ask()
        seconds.append(time.process_time() - begin)
        score = bench.score(dataset, values)
        method.tell(score)
        scores.append(score)
    return scores, seconds


def measured(method, past, options, bench, space, path):
    """Runs what is left of a method's searches; returns a row for each."""
    sources, targets = split(bench.datasets, options.part)
    facts = {"method": method, "past": past, "part": options.part}
    facts["trials"] = options.trials
    rows = []
    if path.exists():
        before = json.loads(path.read_text())
        kept = {name: before.get(name) for name in facts}
        if kept != facts:
            raise ValueError(f"{path} has {kept}, not {facts}: give another --output.")
        rows = before["rows"]
    done = {(row["dataset"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        left = [d for d in targets[: options.targets] if (d, seed) not in done]
        if not left:
            continue
        with tempfile.TemporaryDirectory() as folder:
            known = past_of(folder, bench, space, sources, seed, past)
            for dataset in left:
                its_seed = 100 * seed + targets.index(dataset)
                made = METHODS[method](known, its_seed, f"{folder}/{dataset}")
                scores, seconds = search(made, bench, dataset, options.trials)
                median, best = bench.range(dataset, space)
                reached = np.maximum.accumulate(scores)
                regret = np.maximum((best - reached) / (best - median), 0.0)
                rows.append(
                    {
                        "dataset": dataset,
                        "seed": seed,
                        "regret": [round(float(r), 5) for r in regret],
                        # The first suggestion pretrains, or reads what is kept.
                        "first_seconds": seconds[0] + seconds[1],
                        "seconds": float(np.mean(seconds[2:])),
                    }
                )
            write_json(path, {"machine": machine(), **facts, "rows": rows})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help=f"default: all but {AS_SHIPPED}")
    parser.add_argument("--past", nargs="+", choices=PASTS, default=["sound"])
    parser.add_argument("--part", choices=("test", "development"), default="test")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--list", action="store_true", help="print the methods")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument(
        "--output", type=pathlib.Path, default=HERE / "results" / "lcbench"
    )
    options = parser.parse_args()
    if options.list:
        print("\n".join(METHODS))
        return
    unknown = sorted(set(options.methods) - set(METHODS))
    if unknown:
        parser.error(f"no such method: {unknown}. Known: {list(METHODS)}")
    if options.quick:
        options.seeds, options.targets, options.trials = 1, 1, 4
        options.output = pathlib.Path(tempfile.mkdtemp())
    bench = LCBench()
    space = SearchSpace(hyperparameters().get_config()["space"])
    for method in options.methods or [m for m in METHODS if m != AS_SHIPPED]:
        for past in options.past:
            name = method if past == "sound" else f"{method}_{past}"
            rows = measured(
                method, past, options, bench, space, options.output / f"{name}.json"
            )
            curve = np.mean([row["regret"] for row in rows], axis=0)
            shown = {
                n: round(curve[n - 1], 4)
                for n in (1, 3, 5, 10, 25, 50)
                if n <= len(curve)
            }
            print(name, len(rows), shown, f"{rows[0]['seconds']:.3f} s", flush=True)


if __name__ == "__main__":
    main()
