"""SIGKILL of searches and of meta-training, which then go on as if nothing had been.

Nothing of TensorFlow may have run in the process that calls these: it forks.
"""

import json
import random
import shutil

import numpy as np

from keras_meta.tuner import ExperiencePool
from tests.faults.drills.killing import killed_at, run_forked
from tests.faults.drills.outcome import Drill
from tests.faults.drills.searches import run_search
from tests.training import killed_run

TRIALS = 8
EPOCHS = 30
MOST_ATTEMPTS = 5


def killed_searches(folder, count):
    """Kills a process that searches; started again, it ends as an undisturbed one."""
    drill = Drill(f"SIGKILL of a search of {TRIALS} trials, then resumed")

    def search(place):
        run_search(place, TRIALS, place / "pool.sqlite")

    def has_begun(place):
        return (place / "search" / "oracle.json").exists()

    duration = run_forked(
        lambda: search(folder / "whole"), lambda: has_begun(folder / "whole")
    )
    order, expected = _finished(folder / "whole")
    assert len(order) == len(expected) == TRIALS
    drawn = random.Random(4)
    for number in range(MOST_ATTEMPTS * count):
        place = folder / f"{number}"
        moment = drawn.uniform(0.0, duration)
        killed = killed_at(
            lambda place=place: search(place),
            moment,
            lambda place=place: has_begun(place),
        )
        _, before = _finished(place)
        run_forked(lambda place=place: search(place))
        again, after = _finished(place)
        assert before.items() <= after.items(), "A finished trial was lost."
        assert again == order
        assert after == expected
        (task,) = ExperiencePool(place / "pool.sqlite").tasks()
        assert sorted(trial.trial_id for trial in task.trials) == sorted(order)
        shutil.rmtree(place)
        if killed and len(before) < TRIALS:  # Else it had ended before.
            amid = "amid its trials" if before else "before its first trial ended"
            drill.record(f"killed {amid}: all trials once, as undisturbed")
        if drill.count == count:
            return drill
    raise AssertionError(f"Only {drill.count} kills hit a search that was running.")


def killed_trainings(folder, count):
    """Kills a process that meta-trains with backups; it ends bit for bit the same."""
    drill = Drill("SIGKILL of meta-training with `BackupAndRestore`, then resumed")

    def train(place):
        trainer, _ = killed_run.run(str(place / "backup"))
        weights = [*trainer.weights, *trainer.optimizer.variables]
        np.savez(place / "weights.npz", *map(np.asarray, weights))

    def has_backup(place):
        return any((place / "backup").glob("*"))

    killed_run.EPOCHS = EPOCHS  # Most of a short run goes to compiling.
    (folder / "whole").mkdir()
    duration = run_forked(
        lambda: train(folder / "whole"), lambda: has_backup(folder / "whole")
    )
    expected = _weights(folder / "whole")
    drawn = random.Random(5)
    while drill.count < count:
        place = folder / f"{drill.count}"
        place.mkdir()
        # One in five at any moment, the others once there is a backup.
        begun = None if drill.count % 5 == 4 else lambda place=place: has_backup(place)
        moment = drawn.uniform(0.0, 0.7 * duration)
        killed = killed_at(lambda place=place: train(place), moment, begun)
        what = "went on from its backup" if has_backup(place) else "began again"
        if killed:  # Else it had ended before: another moment is drawn.
            run_forked(lambda place=place: train(place))
            drill.record(f"{what}, bit for bit as undisturbed")
        again = _weights(place)
        assert len(again) == len(expected) > 2
        for value, right in zip(again, expected, strict=True):
            np.testing.assert_array_equal(value, right)
        shutil.rmtree(place)
    return drill


def _finished(place):
    """Returns the order of the trials, and what each finished one gave."""
    finished = {}
    for path in (place / "search").glob("trial_*/trial.json"):
        trial = json.loads(path.read_text())  # Raises if it is half a file.
        if trial["status"] == "COMPLETED":
            values = trial["hyperparameters"]["values"]
            finished[trial["trial_id"]] = (json.dumps(values), trial["score"])
    path = place / "search" / "oracle.json"
    return json.loads(path.read_text())[
        "start_order"
    ] if path.exists() else [], finished


def _weights(place):
    with np.load(place / "weights.npz") as arrays:
        return [arrays[name] for name in sorted(arrays.files)]
