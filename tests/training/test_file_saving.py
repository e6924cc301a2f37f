"""A disk that is too full for a trainer's file."""

import os
import resource

import numpy as np
import pytest

pytest.importorskip("resource")


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras"])
def test_a_full_disk_is_told_and_the_old_file_stays(
    make_trainer, sinusoids, tmp_path, name
):
    trainer = make_trainer()
    trainer.fit(sinusoids, steps_per_epoch=1, verbose=0)
    path = tmp_path / name
    save = trainer.save_weights if name.endswith(".h5") else trainer.save
    save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: HDF5 would end the process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(OSError, match="what was there before stays.*free some"):
            save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]
    save(path)  # With room again.
    trainer.load_weights(path)
    assert all(np.isfinite(v).all() for v in trainer.weights)
