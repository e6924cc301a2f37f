"""The experience pool's file: its SQL schema, and connections to it.

A connection lives for one operation. So nothing is shared between threads, nor
over a fork, and a pool that is not in use is one plain file without a write-ahead
log beside it.
"""

import contextlib
import os
import sqlite3
import time
import urllib.parse

from keras_meta.tuner.pool_reading import is_intact
from keras_meta.tuner.pool_seals import NEW_COLUMNS, TOTALS, add_seals, is_sealed

APPLICATION_ID = int.from_bytes(b"kmep", "big")  # In the header of every pool.
SCHEMA_VERSION = 2
BUSY_SECONDS = 60.0  # How long a writer waits for another one.
RETRY_SECONDS = 0.05

SCHEMA = (
    """CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        source TEXT,
        space TEXT NOT NULL,
        objective TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('min', 'max')),
        description TEXT,
        created REAL NOT NULL
    )""",
    """CREATE TABLE trials (
        id INTEGER PRIMARY KEY,
        task INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        content TEXT NOT NULL,
        trial_id TEXT,
        "values" TEXT NOT NULL,
        status TEXT NOT NULL,
        score REAL,
        best_step INTEGER,
        seconds REAL,
        message TEXT,
        metrics TEXT NOT NULL
    )""",
    """CREATE TABLE computed (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        value BLOB NOT NULL
    )""",
    "CREATE INDEX trials_in_order ON trials (task, position, id)",
    "CREATE INDEX trials_by_content ON trials (content)",
    "CREATE INDEX tasks_by_source ON tasks (source)",
    *NEW_COLUMNS,
    *TOTALS,
)
# Nothing else may be in a pool: a view or a trigger would be run.
NAMES = ("computed", "sqlite_sequence", "tasks", "totals", "trials")

MAX_FAULT = 300  # Characters.
DAMAGED = (
    "is damaged. It was left as it is: restore it from a copy, or import the projects "
    "into a new file"
)
# SQLite's words, and what they mean to a user of a pool.
FAULTS = (
    (
        "not a database",
        "is not an experience pool but another kind of file. It was left as it is: "
        "pass another path",
    ),
    ("malformed", DAMAGED),
    (
        "readonly",
        "cannot be written, and was not changed: ask for the right to write the "
        "file and its folder, or pass another path",
    ),
    (
        "full",
        "has no room to grow: the disk is full. What was in it is still there: "
        "free some space and try again",
    ),
    (
        "i/o error",
        "could not be read or written by the system. What was in it is still "
        "there: see whether the disk is full or failing, and try again",
    ),
    (
        "lock",
        f"is being written by another process for more than {BUSY_SECONDS:.0f} "
        "seconds. Try again later",
    ),
    (
        "unable to open",
        "cannot be opened: see whether it is still there, and ask for the right to "
        "read it and to write its folder",
    ),
)


class PoolError(OSError):
    """Says that a pool's file is missing, foreign, damaged, newer or not writable.

    Example:

    >>> from keras_meta.tuner import ExperiencePool
    >>> try:
    ...     ExperiencePool("./no-such-pool.sqlite", read_only=True)
    ... except PoolError as error:
    ...     print(str(error).startswith("No experience pool at"))
    True
    """


def prepare_pool(path, read_only):
    """Checks a pool's file, and makes it if it is missing.

    A new file is made in one transaction. A file that is something else is never
    written to.

    Args:
        path: `pathlib.Path`, absolute.
        read_only: bool, make nothing.

    Raises:
        PoolError: if the file is missing and may not be made, or is not a pool
            that this version can read.
    """
    if path.exists() and not path.is_file():
        raise PoolError(
            f"The experience pool {str(path)!r} must be a file. Received: a folder "
            "or a device."
        )
    if not path.exists():
        if read_only:
            raise PoolError(
                f"No experience pool at {str(path)!r}. Check the path, or import a "
                "project first."
            )
        if not path.parent.is_dir():
            raise PoolError(
                f"The folder of the experience pool {str(path)!r} does not exist. "
                "Create it first."
            )
    elif not _is_new(path) or read_only:
        with reading(path):
            return
    with _explained(path), _open(path, "rwc") as connection:
        # Gives the room of what is dropped back to the disk. Can be set only before
        # the first table, and not within a transaction.
        connection.execute("PRAGMA auto_vacuum = FULL")
        _unless_busy(connection, "PRAGMA journal_mode = WAL")
        with _transaction(connection, "BEGIN IMMEDIATE"):
            if _is_empty(connection):
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            _check_header(connection, path)


@contextlib.contextmanager
def reading(path):
    """Opens a pool and holds one view of it, whatever others write meanwhile.

    Args:
        path: `pathlib.Path`, absolute.

    Yields:
        `sqlite3.Connection` that reads only.

    Raises:
        PoolError: if the file cannot be read or is not a pool.
    """
    with _explained(path), _open_to_read(path) as connection:
        with _transaction(connection, "BEGIN"):
            _check_header(connection, path)
            yield connection


@contextlib.contextmanager
def writing(path):
    """Opens a pool for one transaction: all that is written, or after a fault none.

    Waits for other writers, up to a minute; does not hold up readers.

    Args:
        path: `pathlib.Path`, absolute.

    Yields:
        `sqlite3.Connection` within the transaction.

    Raises:
        PoolError: if the file cannot be written or is not a pool.
    """
    with _explained(path), _open(path, "rw") as connection:
        _unless_busy(connection, "PRAGMA user_version")
        # Before the lock: a foreign file is not written to, not even that.
        _check_header(connection, path)
        with _transaction(connection, "BEGIN IMMEDIATE"):
            _check_header(connection, path)  # The writer before may be a newer one.
            if not is_sealed(connection):
                add_seals(connection, is_intact)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            yield connection


@contextlib.contextmanager
def _explained(path):
    """Turns SQLite's errors into one that says what to do."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        text = str(error)[:MAX_FAULT]
        meaning = next(
            (words for sign, words in FAULTS if sign in text.lower()), DAMAGED
        )
        raise PoolError(
            f"The experience pool {str(path)!r} {meaning}. The fault: {text}."
        ) from error


@contextlib.contextmanager
def _open(path, mode):
    # Percent signs keep names that are not UTF-8, and those with "?" or "#".
    uri = f"file:{urllib.parse.quote(os.fsencode(path))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # A foreign file's views and triggers may call no function of ours.
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _open_to_read(path):
    """Opens a pool also where neither it nor its folder can be written."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(_open(path, "rw"))
        try:
            _unless_busy(connection, "PRAGMA application_id")
        except sqlite3.OperationalError:
            # Readers share a small file beside the pool, which a read-only folder
            # cannot have. Without a log, the file is all there is to read.
            log = path.with_name(path.name + "-wal")
            if os.access(path.parent, os.W_OK) or (log.exists() and _size(log)):
                raise
            connection = stack.enter_context(_open(path, "ro&immutable=1"))
        connection.execute("PRAGMA query_only = ON")
        yield connection


@contextlib.contextmanager
def _transaction(connection, begin):
    _unless_busy(connection, begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some faults SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _unless_busy(connection, statement):
    """Executes a statement, again while the file is locked.

    SQLite itself waits for most locks, not for those of opening and closing.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "lock" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


def _is_new(path):
    """Tells a file without content, such as one whose making was cut short."""
    if not _size(path):
        return True
    with _explained(path), _open_to_read(path) as connection:
        return _is_empty(connection)


def _size(path):
    return path.stat().st_size


def _is_empty(connection):
    count = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return count == 0 and _header(connection) == (0, 0)


def _header(connection):
    return (
        connection.execute("PRAGMA application_id").fetchone()[0],
        connection.execute("PRAGMA user_version").fetchone()[0],
    )


def _check_header(connection, path):
    application, version = _header(connection)
    if application != APPLICATION_ID:
        raise PoolError(
            f"The file {str(path)!r} is not an experience pool but an SQLite database "
            "of another program, or empty. It was left as it is: pass another path."
        )
    if version > SCHEMA_VERSION:
        raise PoolError(
            f"The experience pool {str(path)!r} was written by a newer keras_meta: "
            f"upgrade keras_meta to use it. Received: schema version {version}, this "
            f"keras_meta uses up to {SCHEMA_VERSION}."
        )
    foreign = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') "
        f"OR (type = 'table' AND name NOT IN ({', '.join('?' * len(NAMES))})) "
        "OR upper(sql) LIKE '%VIRTUAL%' OR upper(sql) LIKE '% AS%(%' LIMIT 1",
        NAMES,
    ).fetchone()
    if foreign is not None:
        raise PoolError(
            f"The experience pool {str(path)!r} holds what no pool holds, and was left "
            "as it is: restore it from a copy, or import the projects into a new file. "
            f"Received: the {foreign[0]} {foreign[1]!r}."
        )
