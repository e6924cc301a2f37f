"""Searches that are killed, interrupted, and run beside others, for real."""

import json
import signal
import socket
import time

import pytest

from keras_meta.tuner import ExperiencePool
from tests.forked import Forked
from tests.tuner import search_process

PATIENCE = 120  # seconds


class Processes:
    """Starts processes of searches, and ends what is left of them."""

    def __init__(self, folder):
        self.folder, self.started = folder, []

    def start(
        self,
        project="search",
        trials=6,
        held=(),
        pool=None,
        file_size=None,
        **environment,
    ):
        settings = {
            "project": project,
            "trials": trials,
            "held": list(held),
            "pool": str(pool or self.folder / "pool.sqlite"),
            "file_size": file_size,
        }
        process = Forked(search_process.run, self.folder, settings, **environment)
        self.started.append(process)
        return process

    def log(self):
        path = self.folder / "log"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def wait_for(self, line):
        """Waits until a line is in the log."""
        begin = time.monotonic()
        while line not in self.log():
            assert time.monotonic() - begin < PATIENCE, (line, self.log())
            ended = [p for p in self.started if p.poll() not in (None, 0, -9, -2)]
            assert not ended, ended[0].communicate()[0]
            time.sleep(0.02)

    def let_go(self, *trials):
        for trial in trials:
            (self.folder / f"go_{trial}").touch()

    def state(self, project="search"):
        """Returns the oracle's saved state, and its trials' by id."""
        folder = self.folder / project
        trials = {}
        for path in folder.glob("trial_*/trial.json"):
            trial = json.loads(path.read_text())
            trials[trial["trial_id"]] = trial
        return json.loads((folder / "oracle.json").read_text()), trials

    def values(self, project="search"):
        """Returns the trials' values in the order in which they began."""
        state, trials = self.state(project)
        return [trials[i]["hyperparameters"]["values"] for i in state["start_order"]]


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _check_alive(running):
    for process in running:
        assert process.poll() is None, process.communicate()[0]


def ended(process):
    """Waits for a process to end well; returns what it printed."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def test_a_killed_worker_and_a_killed_chief_lose_and_double_nothing(processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    settings = {"trials": 9, "held": ["2", "5", "6"]}

    def start(name):
        return processes.start(**settings, **shared, KERASTUNER_TUNER_ID=name)

    chief, workers = start("chief"), {"one": start("one"), "two": start("two")}
    # A worker is killed in the middle of trial 2, and gets it again.
    begun = {f"begin 2 {name}": name for name in workers}
    while not (line := set(begun).intersection(processes.log())):
        time.sleep(0.02)
        _check_alive(workers.values())
    victim = begun[line.pop()]
    workers[victim].send_signal(signal.SIGKILL)
    workers[victim].wait()
    processes.let_go("2")
    workers[victim] = start(victim)
    # The chief is killed while both workers run; they end their trials with the next.
    while sum(line.startswith(("begin 5", "begin 6")) for line in processes.log()) < 2:
        time.sleep(0.02)
        _check_alive(workers.values())
    chief.send_signal(signal.SIGKILL)
    chief.wait()
    chief = start("chief")
    processes.let_go("5", "6")
    for process in workers.values():
        ended(process)
    state, trials = processes.state()
    expected = [str(index) for index in range(9)]
    assert sorted(state["end_order"]) == sorted(trials) == expected
    assert {trial["status"] for trial in trials.values()} == {"COMPLETED"}
    log = processes.log()
    assert sorted(line.split()[1] for line in log if line.startswith("end")) == expected
    begins = [line.split()[1] for line in log if line.startswith("begin")]
    assert sorted(begins) == sorted([*expected, "2"])
    (task,) = ExperiencePool(processes.folder / "pool.sqlite").tasks()
    assert sorted(trial.trial_id for trial in task.trials) == expected


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(processes):
    whole = processes.start("whole", 9, pool=processes.folder / "other.sqlite")
    part = processes.start("search", 9, held=["7"])
    processes.wait_for("begin 7 tuner0")
    while sum(line == "begin 7 tuner0" for line in processes.log()) < 2:
        time.sleep(0.02)  # Both searches write this log.
    ended(whole)
    part.send_signal(signal.SIGINT)
    part.communicate(timeout=PATIENCE)
    assert part.returncode != 0
    processes.let_go("7")
    ended(processes.start("search", 9))
    assert processes.values("search") == processes.values("whole")
    state, _ = processes.state("search")
    assert len(state["end_order"]) == len(set(state["end_order"])) == 9


def test_two_searches_fill_one_pool_at_once(processes):
    both = [processes.start(name, 8) for name in ("a", "b")]
    for process in both:
        ended(process)
    tasks = ExperiencePool(processes.folder / "pool.sqlite").tasks()
    assert sorted(task.name.split()[0] for task in tasks) == ["a", "b"]
    assert [len({t.trial_id for t in task.trials}) for task in tasks] == [8, 8]


def test_a_full_disk_ends_the_learning_and_not_the_search(processes):
    path = processes.folder / "pool.sqlite"
    pool = ExperiencePool(path)
    space = [{"class_name": "Boolean", "config": {"name": "b", "default": False}}]
    for index in range(40):
        trials = [{"values": {"b": True}, "score": 0.1 * n} for n in range(50)]
        pool.add(f"task {index}", space, trials, "val_score", "max")
    before = {task.name: len(task.trials) for task in pool.tasks()}
    # No file may grow beyond this: the pool is larger, a trial's file is not.
    assert path.stat().st_size > 2**17
    output = ended(processes.start(trials=7, file_size=2**15))
    assert output.count("Nothing more of this search goes to the pool") == 1
    state, trials = processes.state()
    assert len(state["end_order"]) == len(trials) == 7
    after = {task.name: len(task.trials) for task in pool.tasks()}
    assert before.items() <= after.items()
