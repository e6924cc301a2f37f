"""Every fault here is really caused: files are cut, locked, filled up, killed."""

import os
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest

from keras_meta.tuner import ExperiencePool, pool_schema
from keras_meta.tuner.pool_schema import PoolError

SPACE = [{"class_name": "Boolean", "config": {"name": "flag"}}]
ADD = """
def add(pool, name, count, first=0):
    space = [{"class_name": "Boolean", "config": {"name": "flag"}}]
    trials = [{"values": {"flag": True}, "score": i} for i in range(first, first+count)]
    return pool.add(name, space, trials, "val_loss")
"""


def add(pool, count=1, name="a", first=0):
    scores = range(first, first + count)
    trials = [{"values": {"flag": True}, "score": score} for score in scores]
    return pool.add(name, SPACE, trials, "val_loss")


@pytest.fixture
def pool(tmp_path):
    pool = ExperiencePool(tmp_path / "pool.sqlite")
    add(pool, count=3)
    return pool


@pytest.fixture
def open_folder():
    """A folder that other users can reach: pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def set_version(path, **pragmas):
    connection = sqlite3.connect(path)
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")
    connection.close()


def test_file_says_what_it_is_and_lies_alone(pool):
    header = pool.path.read_bytes()[:100]
    assert header[60:64] == bytes([0, 0, 0, 2])  # user_version
    assert header[68:72] == b"kmep"  # application_id
    assert os.listdir(pool.path.parent) == ["pool.sqlite"]


def test_newer_schema_is_refused(pool):
    set_version(pool.path, user_version=3)
    before = pool.path.read_bytes()
    message = "newer keras_meta: upgrade keras_meta.*schema version 3,.*up to 2"
    with pytest.raises(PoolError, match=message):
        ExperiencePool(pool.path)
    with pytest.raises(PoolError, match=message):
        add(pool)
    assert pool.path.read_bytes() == before


def test_writer_that_waits_for_a_newer_keras_meta_is_refused(pool):
    newer = sqlite3.connect(pool.path, isolation_level=None, check_same_thread=False)
    newer.execute("BEGIN IMMEDIATE")
    newer.execute("PRAGMA user_version = 3")
    timer = threading.Timer(0.3, lambda: newer.execute("COMMIT"))
    timer.start()
    with pytest.raises(PoolError, match="written by a newer keras_meta"):
        add(pool, first=10)
    timer.join()
    (count,) = newer.execute("SELECT count(*) FROM trials").fetchone()
    newer.close()
    assert count == 3


@pytest.mark.parametrize("read_only", [False, True])
def test_database_of_another_program_is_left_as_it_is(tmp_path, read_only):
    path = tmp_path / "browser.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(PoolError, match="SQLite database of another program"):
        ExperiencePool(path, read_only=read_only)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["browser.sqlite"]


def test_file_of_another_kind_is_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Notes of May. " * 1000)
    with pytest.raises(PoolError, match="is not an experience pool but another kind"):
        ExperiencePool(path)
    assert path.read_text() == "Notes of May. " * 1000


def test_damaged_pool_is_named_and_left_as_it_is(pool):
    add(pool, count=2000, name="b")
    data = pool.path.read_bytes()
    pool.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PoolError, match="is damaged.*import the projects into a new"):
        pool.tasks()
    with pytest.raises(PoolError, match="is damaged"):
        add(pool, count=2000, name="c", first=5000)
    assert pool.path.read_bytes() == data[: len(data) // 2]


@pytest.mark.parametrize("column", ["space", '"values"', "metrics"])
def test_damage_within_a_cell_is_named(pool, column):
    table = "tasks" if column == "space" else "trials"
    with pool_schema.writing(pool.path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = '[1, '")
    with pytest.raises(PoolError, match="is damaged.*The fault: malformed row"):
        pool.tasks()


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(PoolError, match="No experience pool at .*Check the path"):
        ExperiencePool(tmp_path / "none.sqlite", read_only=True)
    with pytest.raises(PoolError, match="folder of .* does not exist. Create it"):
        ExperiencePool(tmp_path / "none" / "pool.sqlite")
    with pytest.raises(PoolError, match="must be a file. Received: a folder"):
        ExperiencePool(tmp_path)
    assert os.listdir(tmp_path) == []


def test_pool_that_is_removed_while_in_use_is_named(pool):
    pool.path.unlink()
    for use in (pool.tasks, lambda: add(pool)):
        with pytest.raises(PoolError, match="cannot be opened: see whether it is"):
            use()
    assert not pool.path.exists()


def test_making_that_was_cut_short_is_made_up_for(tmp_path):
    path = tmp_path / "pool.sqlite"
    path.touch()
    assert add(ExperiencePool(path)).added == 1
    path = tmp_path / "second.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size > 0
    assert add(ExperiencePool(path)).added == 1


def test_pool_that_another_process_makes_first_is_used(pool, monkeypatch):
    # What a process believes that looked a moment before the other one wrote.
    monkeypatch.setattr(pool_schema, "_is_new", lambda path: True)
    assert ExperiencePool(pool.path).num_trials == 3


@pytest.mark.parametrize(
    "name", ["a?b#c%41.sqlite", "é ü.sqlite", os.fsdecode(b"caf\xe9.sqlite")]
)
def test_names_of_any_characters(tmp_path, name):
    path = tmp_path / name
    add(ExperiencePool(path))
    assert os.listdir(tmp_path) == [name]
    assert ExperiencePool(path, read_only=True).num_trials == 1


def test_writer_that_waits_in_vain_says_so(pool, monkeypatch):
    monkeypatch.setattr(pool_schema, "BUSY_SECONDS", 0.1)
    with pool_schema.writing(pool.path):
        assert pool.num_trials == 3  # Readers do not wait.
        with pytest.raises(PoolError, match="being written by another process"):
            add(pool, first=10)
    assert add(pool, first=10).added == 1


def test_fault_in_a_transaction_leaves_nothing_of_it(pool):
    with pytest.raises(KeyboardInterrupt):
        with pool_schema.writing(pool.path) as connection:
            connection.execute("DELETE FROM trials")
            raise KeyboardInterrupt
    assert pool.num_trials == 3


def test_reader_sees_one_state_while_another_writes(pool):
    with pool_schema.reading(pool.path) as connection:
        count = "SELECT count(*) FROM trials"
        before = connection.execute(count).fetchone()
        add(pool, first=10)
        assert connection.execute(count).fetchone() == before == (3,)
    assert pool.num_trials == 4


def test_kill_amid_a_big_add_leaves_nothing_of_it(pool, start_python):
    code = """
pool = ExperiencePool(sys.argv[1])
print("ready", flush=True)
add(pool, "big", 80_000)
"""
    log = pool.path.with_name(pool.path.name + "-wal")
    process = start_python(ADD + code, pool.path)
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    # Pages that no longer fit into memory: the transaction is under way.
    while not (log.exists() and log.stat().st_size > 1_000_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert {task.name: len(task.trials) for task in pool.tasks()} == {"a": 3}
    assert add(pool, name="big").added == 1


def test_full_disk_is_told_and_nothing_is_lost(pool):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond what the pool has: writes fail as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (pool.path.stat().st_size, limits[1]))
    try:
        with pytest.raises(PoolError, match="disk is full.*What was in it|still there"):
            add(pool, count=20_000, name="big")
        assert pool.num_trials == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert pool.num_trials == 3
    assert add(pool, count=20_000, name="big").added == 20_000


@pytest.mark.parametrize("part", ["file", "folder", "both"])
def test_pool_that_may_not_be_written_is_read(open_folder, run_python, part):
    path = open_folder / "pool.sqlite"
    add(ExperiencePool(path), count=3)
    path.chmod(0o644 if part == "folder" else 0o444)
    open_folder.chmod(0o777 if part == "file" else 0o555)
    code = """
import os
if os.getuid() == 0:
    os.setuid(65534)  # Nobody: root may write everything.
for read_only in (False, True):
    pool = ExperiencePool(sys.argv[1], read_only=read_only)
    print(len(pool.tasks()[0].trials))
    try:
        add(pool, "new", 1)
    except PoolError as error:
        print(error)
"""
    lines = run_python(ADD + code, path).splitlines()
    assert [lines[0], lines[2]] == ["3", "3"]
    assert "cannot be written, and was not changed: ask for the right" in lines[1]
    assert "opened with read_only=True" in lines[3]
    open_folder.chmod(0o755)
    path.chmod(0o644)
    assert ExperiencePool(path).num_trials == 3
