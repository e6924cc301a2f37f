"""Seals on the rows of an experience pool: damage that SQLite cannot see is found.

SQLite notices a file whose pages do not hang together, not a score with a flipped bit,
nor a row that is no longer found. So each trial and each task has a seal, a digest of
its row; a task has the number of its trials, and the pool that of its tasks.
"""

import hashlib
import sqlite3

SEALED_SINCE = 2  # The schema version that brought the seals.
UNSEALED = "new"  # What stands for a seal within a transaction.
TRIAL_CELLS = (
    'id, task, position, content, trial_id, "values", status, score, best_step, '
    "seconds, message, metrics"
)
TASK_CELLS = (
    "id, name, source, space, objective, direction, description, created, num_trials"
)
NEW_COLUMNS = (
    "ALTER TABLE tasks ADD COLUMN num_trials INTEGER NOT NULL DEFAULT 0",
    f"ALTER TABLE tasks ADD COLUMN seal TEXT NOT NULL DEFAULT '{UNSEALED}'",
    f"ALTER TABLE trials ADD COLUMN seal TEXT NOT NULL DEFAULT '{UNSEALED}'",
)
TOTALS = (
    "CREATE TABLE totals (id INTEGER PRIMARY KEY, tasks INTEGER NOT NULL)",
    "INSERT INTO totals SELECT 1, count(*) FROM tasks",
)


class DamagedRow(sqlite3.DatabaseError):
    """Says, in SQLite's words, that a row is not as it was written.

    Example:

    >>> check_seal(seal_of(1, "a"), 1, "b")
    Traceback (most recent call last):
    keras_meta.tuner.pool_seals.DamagedRow: malformed row: its seal does not fit
    """

    def __init__(self, fault="its seal does not fit"):
        super().__init__(f"malformed row: {fault}")


def seal_of(*cells):
    """Computes a row's seal.

    Args:
        *cells: None, int, float or str, what SQLite gives for the row.

    Returns:
        str of 16 hexadecimal digits.
    """
    text = repr(cells).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def check_seal(seal, *cells):
    """Raises `DamagedRow` unless a row's cells are those that were sealed."""
    if seal != seal_of(*cells):
        raise DamagedRow


def is_sealed(connection):
    """Tells whether a pool's rows have seals: older ones have none."""
    return connection.execute("PRAGMA user_version").fetchone()[0] >= SEALED_SINCE


def seal_task(connection, task_id, added=0):
    """Seals what is new of a task: `added` trials, and any that are `UNSEALED`.

    Args:
        connection: `sqlite3.Connection` within a transaction that writes.
        task_id: int, the task's row.
        added: int, how many trials more it has.
    """
    # Computed here: an interrupt within a function of SQLite's would look like damage.
    new = connection.execute(
        f"SELECT {TRIAL_CELLS} FROM trials WHERE task = ? AND seal = ?",
        (task_id, UNSEALED),
    ).fetchall()
    connection.executemany(
        "UPDATE trials SET seal = ? WHERE id = ?",
        [(seal_of(*cells), cells[0]) for cells in new],
    )
    connection.execute(
        "UPDATE tasks SET num_trials = num_trials + ? WHERE id = ?", (added, task_id)
    )
    task = connection.execute(
        f"SELECT {TASK_CELLS} FROM tasks WHERE id = ?", (task_id,)
    ).fetchone()
    connection.execute(
        "UPDATE tasks SET seal = ? WHERE id = ?", (seal_of(*task), task_id)
    )


def add_seals(connection, is_intact):
    """Adds seals to a pool that has none.

    Args:
        connection: `sqlite3.Connection` within a transaction that writes.
        is_intact: function of a trial's cells, from `content` on, that tells whether
            the trial is what its content key says.
    """
    for statement in (*NEW_COLUMNS, *TOTALS):
        connection.execute(statement)
    for _, _, _, *cells in connection.execute(f"SELECT {TRIAL_CELLS} FROM trials"):
        if not is_intact(*cells):
            raise DamagedRow("its content is another one")
    counts = connection.execute(
        "SELECT id, (SELECT count(*) FROM trials WHERE task = tasks.id) FROM tasks"
    ).fetchall()
    for task_id, count in counts:
        seal_task(connection, task_id, count)
    connection.execute("DELETE FROM computed")  # They had no digest.


def checked_tasks(connection):
    """Reads the rows of all tasks, checked.

    Args:
        connection: `sqlite3.Connection` within a transaction.

    Returns:
        list of tuples, `TASK_CELLS`; the last is None where trials are not counted.

    Raises:
        DamagedRow: if one is not as it was written, or missing.
    """
    if not is_sealed(connection):
        cells = TASK_CELLS.replace("num_trials", "NULL")
        return connection.execute(f"SELECT {cells} FROM tasks ORDER BY id").fetchall()
    rows = connection.execute(
        f"SELECT seal, {TASK_CELLS} FROM tasks ORDER BY id"
    ).fetchall()
    for row in rows:
        check_seal(*row)
    total = connection.execute("SELECT tasks FROM totals WHERE id = 1").fetchone()
    if total != (len(rows),):
        raise DamagedRow("a task is missing")
    return [cells for _, *cells in rows]


def checked_trials(connection, condition, *values):
    """Reads the rows of trials, checked, in their order.

    Args:
        connection: `sqlite3.Connection` within a transaction.
        condition: str, SQL that chooses them.
        *values: the condition's values.

    Yields:
        list, `TRIAL_CELLS`.

    Raises:
        DamagedRow: if one is not as it was written.
    """
    sealed = is_sealed(connection)
    rows = connection.execute(
        f"SELECT {'seal' if sealed else 'NULL'}, {TRIAL_CELLS} FROM trials "
        f"WHERE {condition} ORDER BY position, id",
        values,
    )
    for seal, *cells in rows:
        if sealed:
            check_seal(seal, *cells)
        yield cells
