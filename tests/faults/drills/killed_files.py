"""SIGKILL while a preset is saved, and while projects go into a pool."""

import shutil

import numpy as np

from keras_meta.presets import PresetError
from keras_meta.presets.files import read_preset, write_preset
from keras_meta.tuner import ExperiencePool
from keras_meta.tuner.pool_import import PROJECTS_AT_ONCE
from tests.faults.drills.killing import killed_at, moments, run_forked
from tests.faults.drills.outcome import Drill
from tests.faults.drills.projects import write_project

VALUES = 8_000_000  # 32 MB: writing takes long enough to be hit.
PROJECTS, TRIALS = PROJECTS_AT_ONCE + 10, 5


def killed_saves(folder, count):
    """Kills a process that saves a preset over another one."""
    drill = Drill("SIGKILL while a preset is saved")
    path = folder / "drill.kmeta"
    versions = {
        title: {"theta/w": np.full(VALUES, value, "float32")}
        for title, value in (("old", 1.0), ("new", 2.0))
    }

    def save():
        write_preset(path, versions["new"], {"title": "new"})

    write_preset(path, versions["old"], {"title": "old"})
    duration = run_forked(save, _change_of(path))
    for moment in moments(1.2 * duration, count, seed=1):
        write_preset(path, versions["old"], {"title": "old"})
        killed_at(save, moment, _change_of(path))
        tensors, card = read_preset(path)  # Raises if it is half of either.
        np.testing.assert_array_equal(
            tensors["theta/w"], versions[card["title"]]["theta/w"]
        )
        drill.record(f"the {card['title']} file, whole")
    return drill


def killed_first_saves(folder, count):
    """Kills a process that saves a preset where there was none."""
    drill = Drill("SIGKILL while a preset is saved for the first time")
    path = folder / "first.kmeta"
    tensors = {"theta/w": np.ones(VALUES, "float32")}

    def save():
        write_preset(path, tensors, {})

    path.unlink(missing_ok=True)
    duration = run_forked(save, _change_of(path))
    for moment in moments(1.2 * duration, count, seed=2):
        path.unlink(missing_ok=True)
        killed_at(save, moment, _change_of(path))
        try:
            read_preset(path)
        except PresetError as error:
            assert "No preset file at" in str(error), error
            drill.record("no file")
        else:
            drill.record("the new file, whole")
    return drill


def _change_of(path):
    """Returns a function that tells whether a file, or one beside it, has changed.

    What earlier kills left beside it is removed first.
    """
    for left in path.parent.glob(".*.tmp"):
        left.unlink()

    def state():
        try:
            return path.parent.stat().st_mtime_ns, path.stat().st_mtime_ns
        except FileNotFoundError:
            return path.parent.stat().st_mtime_ns, None

    before = state()
    return lambda: state() != before


def killed_imports(folder, count):
    """Kills a process that imports projects into a pool, then imports them again."""
    drill = Drill(f"SIGKILL while {PROJECTS} projects are imported into a pool")
    for index in range(PROJECTS):
        write_project(folder / "searches" / f"search_{index:02d}", TRIALS, seed=index)
    whole = ExperiencePool(folder / "whole.sqlite")

    def fill(path):
        ExperiencePool(path).import_project(folder / "searches")

    duration = run_forked(lambda: fill(whole.path))
    expected = whole.tasks()
    assert [len(task.trials) for task in expected] == [TRIALS] * PROJECTS
    for number, moment in enumerate(moments(1.2 * duration, count, seed=3)):
        path = folder / f"{number}" / "pool.sqlite"
        path.parent.mkdir()
        killed_at(lambda path=path: fill(path), moment)
        pool = ExperiencePool(path)  # Made anew if the kill came before it was.
        kept = pool.tasks()
        assert kept == expected[: len(kept)]
        assert len(kept) in (0, PROJECTS_AT_ONCE, PROJECTS)
        report = pool.import_project(folder / "searches")
        assert report.added == (PROJECTS - len(kept)) * TRIALS
        assert pool.tasks() == expected
        shutil.rmtree(path.parent)
        drill.record(f"{len(kept)} projects, whole; all after a second import")
    return drill
