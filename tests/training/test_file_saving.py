"""A disk that is too full for a trainer's file."""

import errno
import os
import resource
import shutil
import stat

import keras
import numpy as np
import pytest

from keras_meta.training import file_saving

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


def test_a_linked_file_is_replaced_where_it_lies_and_keeps_its_rights(
    make_trainer, tmp_path
):
    trainer = make_trainer()
    (tmp_path / "real").mkdir()
    path = tmp_path / "real" / "a.weights.h5"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link = tmp_path / "link.weights.h5"
    link.symlink_to(path)
    trainer.save_weights(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["a.weights.h5"]
    trainer.load_weights(path)


def test_file_systems_that_cannot_reserve_room_are_asked_what_they_have(
    make_trainer, tmp_path, monkeypatch
):
    def cannot(file, begin, size):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    trainer, path = make_trainer(), tmp_path / "a.weights.h5"
    monkeypatch.setattr(os, "posix_fallocate", cannot)
    trainer.save_weights(path)
    before = path.read_bytes()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=9))
    with pytest.raises(OSError, match="what was there before stays.*No space left"):
        trainer.save_weights(path)
    assert path.read_bytes() == before


def test_no_more_room_is_asked_for_than_the_values_take(tmp_path):
    kernel = keras.Variable(np.zeros((1_000, 1_000), "float32"))
    layer = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    extra = file_saving._bytes_of(layer)
    layer.optimizer = keras.optimizers.SGD()
    layer.layers[0]._trainable_variables.append(kernel)
    assert 4e6 <= file_saving._bytes_of(layer) - extra < 4.1e6
