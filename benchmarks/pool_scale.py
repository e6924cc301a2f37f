"""A pool of 1,000 past searches: seconds to import it, and to suggest from it.

Writes KerasTuner project folders as KerasTuner's own classes save them, 100 random
trials each: LCBench's 24 source data sets, trained for 5 to 52 epochs. Imports them,
and searches a target data set with them. Writes `results/pool_scale.json`.

    python benchmarks/pool_scale.py [--tasks N ...] [--quick]

It needs what `lcbench.py` needs, and 1 GB of disk meanwhile.
"""

import argparse
import pathlib
import tempfile
import time

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as trial_module
from lcbench_peers import OBJECTIVE, OracleSearch
from lcbench_tables import LAST_EPOCH, LCBench, hyperparameters, split
from recording import machine, write_json

import keras_meta
from keras_meta.tuner.search_space import SearchSpace

HERE = pathlib.Path(__file__).parent
TRIALS = 100
SUGGESTIONS = 50
FIRST_EPOCH = 5


def write_project(folder, name, space, points, scores):
    """Saves a finished random search, as KerasTuner does."""
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=OBJECTIVE,
        max_trials=len(points),
        hyperparameters=hyperparameters(),
        seed=1,
    )
    oracle._set_project_dir(str(folder), name)
    width = len(str(len(points)))
    for index, (point, score) in enumerate(zip(points, scores, strict=True)):
        values = hyperparameters()
        values.values = space.values(point)
        trial = trial_module.Trial(values, f"{index:0{width}d}", "COMPLETED")
        trial.metrics.register(OBJECTIVE.name, OBJECTIVE.direction)
        trial.metrics.update(OBJECTIVE.name, float(score), step=0)
        trial.score, trial.best_step = float(score), 0
        oracle.trials[trial.trial_id] = trial
        oracle._save_trial(trial)
    oracle.start_order = oracle.end_order = list(oracle.trials)
    oracle.save()


def measured(count, bench, folder):
    """Returns a row of seconds for so many past tasks."""
    space = SearchSpace(hyperparameters().get_config()["space"])
    sources, targets = split(bench.datasets)
    generator = np.random.default_rng(0)
    old = folder / "old"
    old.mkdir()
    for index in range(count):
        points = space.sample(generator, TRIALS)
        epoch = int(generator.integers(FIRST_EPOCH, LAST_EPOCH + 1))
        dataset = sources[index % len(sources)]
        scores = bench.scores(dataset, bench.rows(space, points), epoch)
        write_project(old, f"search_{index}", space, points, scores)
    pool = keras_meta.tuner.ExperiencePool(folder / "pool.sqlite")
    begin = time.perf_counter()
    report = pool.import_project(old)
    row = {"tasks": count, "import_seconds": time.perf_counter() - begin}
    if len(report.tasks) != count or report.skipped:
        raise RuntimeError(f"The import left out {report.skipped[:3]}.")
    begin = time.perf_counter()
    pool.import_project(old)
    row["import_again_seconds"] = time.perf_counter() - begin
    row["pool_mib"] = (folder / "pool.sqlite").stat().st_size / 2**20
    for name in ("first_suggestion_seconds", "first_suggestion_of_next_seconds"):
        oracle = keras_meta.tuner.MetaOracle(
            objective=OBJECTIVE,
            max_trials=SUGGESTIONS,
            hyperparameters=hyperparameters(),
            experience=pool,
            learn=False,
            seed=0,
        )
        search = OracleSearch(oracle, str(folder / name))
        begin = time.perf_counter()
        values = search.ask()
        row[name] = time.perf_counter() - begin
    seconds = []
    for _ in range(SUGGESTIONS - 1):
        search.tell(bench.score(targets[0], values))
        begin = time.perf_counter()
        values = search.ask()
        seconds.append(time.perf_counter() - begin)
    row["suggestion_seconds"] = float(np.mean(seconds))
    row["slowest_suggestion_seconds"] = float(np.max(seconds))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[24, 200, 1000])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results")
    options = parser.parse_args()
    rows, bench = [], LCBench()
    for count in [3] if options.quick else options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(count, bench, pathlib.Path(folder)))
        print(rows[-1], flush=True)
    write_json(
        options.output / "pool_scale.json",
        {"machine": machine(), "trials": TRIALS, "rows": rows},
    )


if __name__ == "__main__":
    main()
