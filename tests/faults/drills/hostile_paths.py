"""Imports of folders with links, with `..`, and with names that are no UTF-8."""

import json
import os
import random

from keras_meta.tuner import ExperiencePool
from tests.faults.drills.execution import nothing_executed
from tests.faults.drills.outcome import Drill
from tests.faults.drills.projects import write_project

TRIALS = 3
SECRET = "a file outside"


def hostile_imports(folder, count):
    """Imports projects amid traps: only what lies in the folder is read."""
    drill = Drill("import: links out of the folder, `..` in ids and paths, odd names")
    outside = write_project(folder / "outside", TRIALS, seed=98)
    drawn = random.Random(8)
    for number in range(count):
        top = folder / f"top_{number}"
        project = write_project(top / "project", TRIALS, seed=number)
        trap = TRAPS[number % len(TRAPS)]
        left_out, name = trap(top, project, outside, drawn)
        pool = ExperiencePool(folder / f"{number}.sqlite")
        detour = top / ".." / top.name / "."
        with nothing_executed(writes=True):
            report = pool.import_project(detour)
        (task,) = pool.tasks()
        assert len(task.trials) == TRIALS - left_out, task
        assert len(report.skipped) >= left_out
        assert SECRET not in repr(report), report
        assert name is None or task.name == name, task.name
        json.dumps([task.name, task.source], ensure_ascii=False).encode("utf-8")
        assert {p.name for p in folder.glob("*.sqlite*")} == {
            f"{i}.sqlite" for i in range(number + 1)
        }
        # Known again by the same path, whatever its letters.
        assert pool.import_project(top).unchanged == TRIALS - left_out
        drill.record(trap.__doc__)
    return drill


def _link_to_project(top, project, outside, drawn):
    """a linked folder is not followed"""
    os.symlink(outside, top / "link")
    os.symlink(top, project / "loop")
    return 0, None


def _link_to_trial(top, project, outside, drawn):
    """a linked trial or file is left out and named"""
    victim = project / f"trial_{drawn.randrange(TRIALS)}"
    if drawn.random() < 0.5:
        (victim / "trial.json").unlink()
        os.symlink(outside / "trial_0" / "trial.json", victim / "trial.json")
    else:
        (victim / "trial.json").unlink()
        victim.rmdir()
        os.symlink(outside / "trial_0", victim)
    return 1, None


def _link_to_secret(top, project, outside, drawn):
    """nothing of a file that is linked to is told"""
    secret = top.parent / f"{top.name}.secret"
    secret.write_text(SECRET)
    victim = project / f"trial_{drawn.randrange(TRIALS)}" / "trial.json"
    victim.unlink()
    os.symlink(secret, victim)
    return 1, None


def _id_with_dots(top, project, outside, drawn):
    """an id with `..` is a text and no path"""
    path = project / "trial_1" / "trial.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "trial_id": "../../../../tmp/escaped"}))
    return 0, None


def _odd_name(top, project, outside, drawn):
    """a name that is no UTF-8 is kept as `\\xNN`"""
    name = b"caf\xe9" + bytes([0x80 + drawn.randrange(0x40)])
    project.rename(top / os.fsdecode(name))
    plain = os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
    return 0, f"{top.name}/{plain}"


TRAPS = (_link_to_project, _link_to_trial, _link_to_secret, _id_with_dots, _odd_name)
