"""Meta-training whose backups no longer fit on the disk."""

import os
import signal

import numpy as np

from tests.faults.drills.disks import files_up_to
from tests.faults.drills.killing import run_forked
from tests.faults.drills.outcome import Drill
from tests.training import killed_run

SMALL = 2_000  # Bytes; a backup of the weights takes more.


def full_disk_trainings(folder, count):
    """Goes on from a backup on a full disk: told, and the backup stays of use."""
    drill = Drill("full disk for the backups of meta-training")

    def train(place, limit=2**40):
        with files_up_to(limit):
            trainer, _ = killed_run.run(str(place / "backup"))
        weights = [*trainer.weights, *trainer.optimizer.variables]
        np.savez(place / "weights.npz", *map(np.asarray, weights))

    def fail(place):
        try:
            train(place, SMALL)
        except OSError:
            return
        raise AssertionError("A backup that was not written counts as one.")

    def die(place):
        killed_run.run(str(place / "backup"), moment="between epochs")

    (folder / "whole").mkdir()
    run_forked(lambda: train(folder / "whole"))
    expected = np.load(folder / "whole" / "weights.npz")
    for number in range(count):
        place = folder / f"{number}"
        place.mkdir()
        process = os.fork()
        if not process:
            die(place)
        assert os.waitpid(process, 0)[1] == signal.SIGKILL
        run_forked(lambda place=place: fail(place))
        run_forked(lambda place=place: train(place))
        again = np.load(place / "weights.npz")
        assert again.files == expected.files
        for name in expected.files:
            np.testing.assert_array_equal(again[name], expected[name])
        drill.record("OSError; with room again, bit for bit as undisturbed")
    return drill
