import json

import keras
import numpy as np
import pytest

from tests.forked import forked
from tests.training import killed_run

MOMENTS = {  # The first epoch that is left to do.
    ("distribution", "between epochs"): 2,
    ("distribution", "in mid-epoch"): 1,
    ("distribution", "between the files"): 2,
    ("shuffled dataset", "in mid-epoch"): 1,
}


def weights(trainer):
    values = [np.array(v) for v in trainer.weights]
    return values + [np.array(v) for v in trainer.optimizer.variables]


@pytest.fixture(scope="module")
def backups(tmp_path_factory):
    """Backup folders of runs that were killed."""
    folders = {}
    for kind, moment in MOMENTS:
        folder = tmp_path_factory.mktemp("backup")
        status, printed = forked(killed_run.run, folder, kind, moment)
        assert status in (-9, 9), printed[-2000:]
        folders[kind, moment] = folder
    return folders


@pytest.fixture(scope="module")
def undisturbed():
    return {
        kind: weights(killed_run.run(kind=kind)[0])
        for kind in ("distribution", "shuffled dataset")
    }


@pytest.mark.parametrize(("kind", "moment"), MOMENTS, ids=str)
def test_a_killed_run_ends_bit_for_bit_as_an_undisturbed_one(
    backups, undisturbed, kind, moment
):
    folder = backups[kind, moment]
    metadata = (folder / "training_metadata.json").read_text()
    if moment == "between the files":
        assert metadata == ""  # And the weights are those after two epochs.
    else:
        assert json.loads(metadata)["epoch"] == MOMENTS[kind, moment]
    trainer, history = killed_run.run(folder, kind)
    assert history.epoch[0] == MOMENTS[kind, moment]
    for value, wanted in zip(weights(trainer), undisturbed[kind], strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_the_undisturbed_runs_learn(undisturbed):
    """Else equality above would say nothing: other tasks give other weights."""
    first, second = undisturbed.values()
    assert not np.array_equal(first[0], second[0])


def test_a_second_fit_is_no_resumption(make_trainer, sinusoids, tmp_path):
    trainer = make_trainer()
    for _ in range(2):
        history = trainer.fit(
            sinusoids,
            meta_batch_size=2,
            steps_per_epoch=2,
            epochs=2,
            callbacks=keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            verbose=0,
        )
        assert history.epoch == [0, 1]
    assert int(trainer.meta_step) == 8


def test_a_dataset_without_a_whole_meta_batch_is_named(
    make_trainer, linear_model, dataset_of, episode
):
    trainer = make_trainer(linear_model())
    dataset = dataset_of(episode, episode).filter(lambda *parts: True)
    with (
        pytest.warns(UserWarning, match="ran out of data"),
        pytest.raises(
            ValueError,
            match="at least one meta-batch of 5 episodes.*Lower `meta_batch_size`",
        ),
    ):
        trainer.fit(dataset, meta_batch_size=5, verbose=0)
