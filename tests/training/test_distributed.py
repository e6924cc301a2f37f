"""Two replicas of one process train as one device does."""

import json
import pathlib
import re
import runpy

import pytest

from keras_meta.training.task_reduction import TASK_REDUCTIONS
from tests.forked import forked

PROGRAM = pathlib.Path(__file__).with_name("mirrored_run.py")
MESSAGES = {
    "odd meta-batch": "ValueError: Argument `meta_batch_size` must be a multiple of "
    r"the number of replicas.*meta_batch_size=5 for 2 replicas \(MirroredStrategy\)"
    r"\. Pass `meta_batch_size=4 or 6`",
    "one task": "meta_batch_size=1 for 2 replicas.* Pass `meta_batch_size=2`",
    "odd runs": "of each of the 2 problems.*meta_batch_size=6.* Pass "
    "`meta_batch_size=4 or 8`",
    "unknown length": "`steps_per_epoch` must be given for a dataset of unknown length"
    ".*all 2 replicas.*Received: steps_per_epoch=None",
    "trainer outside": r"ValueError: `MetaTrainer\.fit\(\)` was called in the scope of "
    "a MirroredStrategy.*Received: a trainer made outside of any scope",
    "optimizer outside": "ValueError: The outer optimizer must be made in the scope",
    "learned optimizer outside": "ValueError: The learned optimizer must be made in "
    "the scope.*an optimizer made outside of any scope and a trainer made in the scope "
    "of a MirroredStrategy with 2 replicas",
    "model outside": "ValueError: The model must be made in the scope of the strategy "
    r"in which the trainer is\. Received: the variable '.*kernel', which was not, in "
    "the scope of a MirroredStrategy",
    "average": r"several replicas\. Received: use_ema\.",
    "accumulated": r"several replicas\. Received: gradient_accumulation_steps\.",
}


@pytest.fixture(scope="module")
def results():
    status, printed = forked(runpy.run_path, str(PROGRAM), None, "__main__")
    assert status == 0, printed[-4000:]
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "first_order", "truncated", "pes"])
def test_two_replicas_end_where_one_device_does(results, kind):
    result = results[kind]
    assert result["moved"] > 1e-2
    assert result["from one"] < 1e-5
    assert result["from each other"] == 0.0
    assert result["of logs"] < 1e-5


@pytest.mark.slow
def test_a_save_that_cannot_bring_runs_together_says_so(results):
    [message] = results["pes"]["warned"]
    assert (
        "are saved as they were at the start of the epoch that meta-step 5" in message
    )


@pytest.mark.slow
def test_validation_calls_callbacks_as_on_one_device(results):
    alone, shared = results["exact"]["test calls"]
    assert alone == shared
    assert set(alone.values()) == {3}  # Epochs, of one meta-batch each.


@pytest.mark.slow
@pytest.mark.parametrize("name", TASK_REDUCTIONS)
def test_reductions_see_the_tasks_of_all_replicas(results, name):
    assert results["reductions"][name] < 1e-6


@pytest.mark.slow
def test_a_bad_task_of_the_second_replica_stops_both_before_it_does_harm(results):
    fault = results["fault"]
    assert (
        "at meta-step 1: with the dataset's episode in place 3 of" in fault["message"]
    )
    assert fault["steps"] == 1
    assert fault["changed"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", MESSAGES)
def test_what_cannot_work_is_said_at_the_start(results, name):
    assert re.search(MESSAGES[name], results["messages"][name])


def test_a_cluster_without_a_strategy_is_refused(make_trainer, sinusoids, monkeypatch):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(
        ValueError,
        match="TF_CONFIG names 2 workers, but the MetaTrainer was made outside of the "
        r"scope.*Received: a trainer made outside of any scope.*or unset TF_CONFIG",
    ):
        make_trainer().fit(sinusoids, verbose=0)
