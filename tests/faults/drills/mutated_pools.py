"""Pools' files that were damaged, or made up by somebody who means harm."""

import contextlib
import io
import shutil
import sqlite3

from hypothesis import strategies as st

from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_schema import PoolError
from keras_meta.tuner.pool_seals import TASK_CELLS, TRIAL_CELLS, seal_of
from tests.faults.drills.execution import nothing_executed
from tests.faults.drills.mutation import BYTES, LEAVES, PLACES, damaged, drilled
from tests.faults.drills.outcome import Drill, bounded_memory, check_clear

MEBIBYTES = 256
SPACE = [
    {"class_name": "Float", "config": {"name": "rate", "min_value": 0, "max_value": 1}}
]
TABLES = {"tasks": TASK_CELLS, "trials": TRIAL_CELLS}


def filled_pool(path):
    """Makes a pool of three tasks, 25 trials each, and one computed value."""
    pool = ExperiencePool(path)
    for task in range(3):
        trials = [
            {
                "values": {"rate": (7 * index + task) / 1000},
                "score": ((31 * index + task) % 100) / 100,
                "trial_id": f"{index:02d}",
                "best_step": 1,
                "metrics": {
                    "val_score": {
                        "direction": "max",
                        "observations": [[0, 0.1], [1, index / 100]],
                    }
                },
            }
            for index in range(25)
        ]
        description = {"log_rows": 3.5, "log_classes": float(task)}
        pool.add(f"task {task}", SPACE, trials, "val_score", "max", description)
    pool.keep("prior", bytes(range(256)) * 4)
    return pool


def damaged_pools(folder, count):
    """Damages bytes of a pool's file: it is told, or all that is read is right."""
    drill = Drill("pool's file: bytes flipped, cut, put in, moved")
    path = folder / "pool.sqlite"
    filled_pool(path)
    data, expected = path.read_bytes(), _read(path)

    @drilled(count, mutation=BYTES)
    def run(mutation):
        path.write_bytes(damaged(data, mutation))
        if not path.stat().st_size:
            # As after a making that was cut short: nobody can tell the two apart.
            assert len(ExperiencePool(path)) == 0
            drill.record("cut to nothing: a new pool")
            return
        drill.record(_outcome(path, expected))

    run()
    return drill


def forged_pools(folder, count):
    """Puts other cells into a pool's rows, with seals that are right or not."""
    drill = Drill("pool's file: cells of other kinds and values, seals forged or not")
    path, whole = folder / "pool.sqlite", folder / "whole.sqlite"
    filled_pool(whole)
    expected = _read(whole)
    cells = LEAVES | st.binary(max_size=9) | st.sampled_from(["[" * 100_000, "{}"])

    @drilled(
        count,
        table=st.sampled_from(sorted(TABLES)),
        at=PLACES,
        cell=cells,
        forged=st.booleans(),
    )
    def run(table, at, cell, forged):
        shutil.copyfile(whole, path)
        _put_cell(path, table, at, cell, forged)
        drill.record(_outcome(path, None if forged else expected))

    run()
    return drill


def _put_cell(path, table, at, cell, forged):
    names = TABLES[table].split(", ")[1:]
    name = names[int(at * len(names))]
    kind = "CAST(? AS TEXT)" if isinstance(cell, str) else "?"
    if isinstance(cell, str):
        cell = cell.encode("utf-8", "surrogatepass")
    if isinstance(cell, int) and abs(cell) >= 2**63:
        cell = str(cell)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(
            f"UPDATE OR IGNORE {table} SET {name} = {kind} WHERE id = 2", (cell,)
        )
        if forged:
            connection.create_function("seal_of", -1, seal_of, deterministic=True)
            # A cell that is no UTF-8 cannot be sealed.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute(
                    f"UPDATE {table} SET seal = seal_of({TABLES[table]}) WHERE id = 2"
                )
        connection.commit()


def _outcome(path, expected):
    """Uses a pool in every way; returns what came of it."""
    try:
        with bounded_memory(MEBIBYTES), nothing_executed(writes=True):
            read = _read(path)
            computed = ExperiencePool(path).cached("prior")
    except PoolError as error:
        check_clear(error, path.name, (PoolError,))
        return "one clear error"
    if expected is not None:
        assert read == expected
        assert computed in (None, bytes(range(256)) * 4)
    added = {"values": {"rate": 0.9999}, "score": 0.5, "trial_id": "99"}
    try:
        with bounded_memory(MEBIBYTES), nothing_executed(writes=True):
            ExperiencePool(path).add("task 1", SPACE, [added], "val_score", "max")
    except (PoolError, ValueError) as error:
        if expected is None and type(error) is ValueError:
            return "read as it says"  # The task has another objective now.
        check_clear(error, path.name, (PoolError,))
        return "one clear error"
    if expected is None:
        return "read as it says"
    # What was added is there, beside all that was.
    trials = [trial for task in ExperiencePool(path).tasks() for trial in task.trials]
    before = [trial for task in expected[0] for trial in task.trials]
    assert [trial for trial in trials if trial.trial_id != "99"] == before
    assert len(trials) == len(before) + 1
    return "read as it was written"


def _read(path):
    pool = ExperiencePool(path)
    tasks = pool.tasks()
    lines = io.StringIO()
    pool.export(lines)
    assert len(tasks) == len(pool)
    assert pool.num_trials == sum(len(task.trials) for task in tasks)
    return tasks, lines.getvalue()
