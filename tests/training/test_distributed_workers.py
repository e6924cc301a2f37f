"""Two workers, processes of their own, train as one does; also if one is killed."""

import functools
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_meta.training import run_local_workers

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "distributed_run.py"
spec = importlib.util.spec_from_file_location("distributed_run", PROGRAM)
distributed_run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(distributed_run)


@functools.cache
def alone(kind):
    return distributed_run.trained(kind)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two workers wrote, one of which was killed once and started again."""
    folder = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE.parents[1]))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        restarts = run_local_workers([sys.executable, str(PROGRAM), str(folder)])
    assert restarts == 1
    assert (folder / "killed").exists()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pes", "exact"])
def test_two_workers_end_where_one_process_does(folder, kind):
    trainer, history = alone(kind)
    for worker in (0, 1):
        learned = np.load(folder / f"{kind} {worker}.npy")
        # PES divides differences of losses by 2 sigma^2.
        np.testing.assert_allclose(
            learned, distributed_run.values(trainer), rtol=0, atol=1e-5
        )
        logs = json.loads((folder / f"{kind} {worker}.json").read_text())
        if kind == "pes":  # What was left of its last epoch after the restart.
            assert [len(values) for values in logs.values()] == [1] * len(history)
            continue
        # A fourth epoch was due, but worker 1 asked for an end in the third.
        assert set(logs) == set(history)
        for name, values in logs.items():
            np.testing.assert_allclose(values, history[name], atol=1e-5)


@pytest.mark.slow
def test_a_worker_adapts_alone(folder):
    trainer, _ = alone("exact")
    x = np.linspace(-1.0, 1.0, 5, dtype="float32")[:, None]
    expected = trainer.adapt(x, 2.0 * x).predict(x, verbose=0)
    np.testing.assert_allclose(np.load(folder / "adapted.npy"), expected, atol=1e-5)


@pytest.mark.slow
def test_only_the_chief_leaves_a_backup_and_removes_it(folder):
    assert not list(folder.glob("backup*"))


@pytest.fixture(scope="module")
def said(folder):
    return [
        json.loads((folder / f"disagreements {worker}.json").read_text())
        for worker in (0, 1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, told",
    [
        (
            "settings",
            "inner_steps: 1 on worker 0, 2 on worker 1; .*meta_batch_size: 4 on worker "
            "0, 8 on worker 1.*on every worker",
        ),
        ("version", '.*keras_meta: "0.1.0" on worker 0, "9.9" on worker 1'),
        ("callbacks", r'callbacks: \[\] on worker 0, \["EarlyStopping"\] on worker 1'),
        ("order", "first task of tasks: .* on worker 0, .* on worker 1"),
        ("data", "first task of tasks: .* on worker 0, .* on worker 1"),
        ("loaded", ".*meta-steps taken: 0 on worker 0, 2 on worker 1"),
    ],
)
def test_workers_that_differ_all_say_so(said, what, told):
    first, second = (of_worker[what] for of_worker in said)
    same = "ValueError: All workers must run the same program with the same versions"
    assert re.match(f"{same}.* Received: {told}", first)
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, fault",
    [("odd", "meta_batch_size=5 for 2 replicas"), ("epochs", "Received: epochs=0")],
)
def test_what_one_worker_cannot_start_with_all_say(said, what, fault):
    first, second = (of_worker[what] for of_worker in said)
    assert first.startswith("ValueError: Worker 1 cannot start, so that no worker does")
    assert fault in first
    assert fault in second
    assert "cannot start" not in second


@pytest.mark.parametrize(
    "end, code", [("sys.exit(3)", "3"), ("raise KeyboardInterrupt", "-2")]
)
def test_a_worker_that_ends_by_itself_is_not_started_again(tmp_path, end, code):
    note = tmp_path / "starts"
    program = f"import sys; open({str(note)!r}, 'a').write('x'); {end}"
    with pytest.raises(RuntimeError, match=f"ended with an error.*worker 0 {code}"):
        run_local_workers([sys.executable, "-c", program], num_workers=1)
    assert note.read_text() == "x"


def test_workers_that_are_killed_again_and_again_are_given_up(tmp_path):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(RuntimeError, match="more often than max_restarts=1 allows"):
        run_local_workers([sys.executable, "-c", program], 1, max_restarts=1)


def test_who_failed_first_decides(tmp_path):
    """Worker 0 ends with an error, and worker 1 aborts for want of it."""
    note = tmp_path / "starts"
    program = (
        "import json, os, sys, time; config = json.loads(os.environ['TF_CONFIG']);"
        f"open({str(note)!r}, 'a').write('x');"
        "config['task']['index'] or sys.exit(3); time.sleep(1.0); os.abort()"
    )
    with pytest.raises(RuntimeError, match="ended with an error.*worker 0 3, worker 1"):
        run_local_workers([sys.executable, "-c", program])
    assert note.read_text() == "xx"


def test_a_worker_that_a_shell_saw_killed_is_started_again(tmp_path, capsys):
    note = tmp_path / "starts"
    program = f"echo x >> '{note}'; test $(wc -l < '{note}') -gt 1 || exit 137"
    assert run_local_workers(["sh", "-c", program], num_workers=1) == 1
    assert "exit codes: worker 0 137" in capsys.readouterr().out


def test_workers_end_with_the_process_that_is_told_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE.parents[1]))
    worker = (
        "import json, os, sys, time; config = json.loads(os.environ['TF_CONFIG']);"
        "path = os.path.join(sys.argv[1], str(config['task']['index']));"
        "open(path + '.new', 'w').write(str(os.getpid()));"
        "os.rename(path + '.new', path); time.sleep(600)"
    )
    launcher = (
        "import sys; from keras_meta.training import run_local_workers;"
        f"run_local_workers([sys.executable, '-c', {worker!r}, sys.argv[1]])"
    )
    started = subprocess.Popen([sys.executable, "-c", launcher, str(tmp_path)])
    notes = [tmp_path / "0", tmp_path / "1"]
    while not all(note.exists() for note in notes):
        assert started.poll() is None
        time.sleep(0.1)
    started.terminate()
    assert started.wait() == 128 + signal.SIGTERM
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)


def test_every_worker_gets_a_place_in_the_cluster(tmp_path):
    program = (
        "import json, os, sys; config = json.loads(os.environ['TF_CONFIG']);"
        "name = config['task']['index'];"
        "open(os.path.join(sys.argv[1], str(name)), 'w').write(json.dumps(config))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert run_local_workers(command, num_workers=3) == 0
    configs = [json.loads((tmp_path / str(i)).read_text()) for i in range(3)]
    assert len(set(configs[0]["cluster"]["worker"])) == 3
    assert configs[0]["cluster"] == configs[2]["cluster"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_workers": 0}, "num_workers"),
        ({"max_restarts": -1}, r"`max_restarts` must be an int >= 0\. Received: .*=-1"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        run_local_workers([sys.executable], **settings)
