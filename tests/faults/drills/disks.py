"""Disks that are full, and folders that may not be written."""

import contextlib
import os
import random
import resource
import signal

import numpy as np
import tensorflow as tf

from keras_meta.presets.files import read_preset, write_preset
from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_schema import PoolError
from tests.faults.drills.killing import run_forked
from tests.faults.drills.outcome import Drill, check_clear
from tests.faults.drills.projects import write_project
from tests.faults.drills.searches import run_search
from tests.training import killed_run

NOBODY = 65534
PROJECTS, TRIALS = 12, 20


@contextlib.contextmanager
def files_up_to(size):
    """Lets no file grow beyond so many bytes: writes fail as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def full_disk_saves(folder, count):
    """Saves a preset over another one, with room for a part of it only."""
    drill = Drill("full disk while a preset is saved")
    path = folder / "drill.kmeta"
    old, new = (np.full(50_000, value, "float32") for value in (1.0, 2.0))
    write_preset(path, {"theta/w": old}, {"title": "old"})
    size = path.stat().st_size
    for limit in _sizes(size, count, seed=6):
        try:
            with files_up_to(limit):
                write_preset(path, {"theta/w": new}, {"title": "new"})
        except OSError as error:
            assert "too large" in str(error) or "No space" in str(error), error
        else:
            raise AssertionError("A file that was cut short counts as written.")
        tensors, card = read_preset(path)
        assert card["title"] == "old"
        np.testing.assert_array_equal(tensors["theta/w"], old)
        assert os.listdir(folder) == [path.name]
        drill.record("OSError, the old file whole, nothing beside it")
    return drill


def full_disk_imports(folder, count):
    """Imports projects into a pool, with room for a part of them only."""
    drill = Drill(f"full disk while {PROJECTS} projects are imported into a pool")
    for index in range(PROJECTS):
        write_project(folder / "searches" / f"search_{index:02d}", TRIALS, seed=index)
    write_project(folder / "first", TRIALS, seed=99)
    whole = ExperiencePool(folder / "whole.sqlite")
    whole.import_project(folder / "first")
    first = whole.tasks()
    whole.import_project(folder / "searches")
    expected, size = whole.tasks(), whole.path.stat().st_size
    for number, limit in enumerate(_sizes(size, count, seed=7)):
        pool = ExperiencePool(folder / f"{number}.sqlite")
        pool.import_project(folder / "first")
        try:
            with files_up_to(max(limit, pool.path.stat().st_size)):
                pool.import_project(folder / "searches")
            outcome = "there was room"
        except PoolError as error:
            check_clear(error, pool.path.name, (PoolError,))
            assert "still there" in str(error), error
            assert pool.tasks() == first
            outcome = "PoolError, what was there is whole; all after a second import"
        pool.import_project(folder / "searches")
        assert pool.tasks() == expected
        drill.record(outcome)
    return drill


def full_disk_searches(folder, count):
    """Searches with room for small files only: the pool is larger than that."""
    drill = Drill("full disk for the pool of a search")
    for number in range(count):
        pool = ExperiencePool(folder / f"{number}.sqlite")
        for index in range(PROJECTS):
            # Of another objective: the search pretrains nothing on them.
            trials = [{"values": {"rate": n / 99}, "score": n} for n in range(TRIALS)]
            pool.add(f"old {index}", [], trials, "val_other", "max")
        before = pool.tasks()
        # A trial's file has room, and what readers share; the pool has not.
        assert pool.path.stat().st_size > 2**15 + 256 * number

        def search(number=number, pool=pool):
            with files_up_to(2**15 + 256 * number):
                run_search(folder / f"{number}", 5, pool.path, seed=number)

        run_forked(search)
        _check_finished(folder / f"{number}", 5, seed=number)
        assert pool.tasks()[: len(before)] == before
        drill.record("searched to its end, the pool whole")
    return drill


def read_only_folders(folder, count):
    """Writes a preset, a pool, a search and backups where nothing may be written."""
    drill = Drill("read-only folder: preset, pool, import, search, backups of training")
    place = folder / "closed"
    place.mkdir()
    write_preset(place / "drill.kmeta", {"theta/w": np.ones(3, "float32")}, {})
    pool = ExperiencePool(place / "pool.sqlite")
    project = write_project(place / "project", TRIALS)
    pool.import_project(project)
    before = {path.name: path.read_bytes() for path in place.glob("*.*")}
    expected = pool.tasks()
    mine = folder / "mine"
    mine.mkdir()
    mine.chmod(0o777)
    for parent in (place, project, *project.glob("trial_*")):
        parent.chmod(0o555)
    for path in (place / "pool.sqlite", place / "drill.kmeta"):
        path.chmod(0o444)

    def use():
        if os.getuid() == 0:
            os.setuid(NOBODY)  # Root may write everything.
        _refuses(lambda: write_preset(place / "drill.kmeta", {}, {}), OSError)
        _refuses(lambda: write_preset(place / "new.kmeta", {}, {}), OSError)
        _refuses(lambda: ExperiencePool(place / "new.sqlite"), PoolError)
        _refuses(lambda: ExperiencePool(pool.path).import_project(project), PoolError)
        # KerasTuner makes its folders with TensorFlow, whose errors are no OSError.
        _refuses(lambda: run_search(place, 2, None), tf.errors.PermissionDeniedError)
        assert ExperiencePool(pool.path).tasks() == expected
        assert read_preset(place / "drill.kmeta")[0]["theta/w"].sum() == 3.0

    def train_and_search():
        if os.getuid() == 0:
            os.setuid(NOBODY)
        _refuses(lambda: killed_run.run(str(place / "backup")), OSError)
        # Where only the pool is closed, a search learns from it, and goes on.
        run_search(mine / "search", 2, pool.path)
        _check_finished(mine / "search", 2, seed=0)

    try:
        run_forked(train_and_search)
        for _ in range(count):
            run_forked(use)
            assert {
                path.name: path.read_bytes() for path in place.glob("*.*")
            } == before
            drill.record("refused with one clear error, read all the same")
    finally:
        for parent in (place, project, *project.glob("trial_*")):
            parent.chmod(0o755)
    return drill


def _refuses(write, kind):
    try:
        write()
    except kind as error:
        assert "denied" in str(error) or "right" in str(error), error
    else:
        raise AssertionError("What may not be written was written.")


def _check_finished(place, trials, seed):
    """The search is as long as it was to be, and goes on as a finished one."""
    tuner = run_search(place, trials, None, seed=seed)
    ended = tuner.oracle.end_order
    assert len(ended) == len(set(ended)) == trials
    for trial in tuner.oracle.trials.values():
        assert trial.status == "COMPLETED"


def _sizes(size, count, seed):
    drawn = random.Random(seed)
    return [int(size * (index + drawn.random()) / count) for index in range(count)]
