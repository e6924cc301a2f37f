"""What was computed from an experience pool and is kept in it, each with a digest."""

import hashlib

MAX_COMPUTED = 8
DIGEST_BYTES = 16


def read_computed(connection, key):
    """Returns the bytes stored under a key, or None: missing, or damaged."""
    row = connection.execute(
        "SELECT CAST(value AS BLOB) FROM computed WHERE key = ?", (key,)
    ).fetchone()
    if row is None or row[0] is None:
        return None
    digest, value = row[0][:DIGEST_BYTES], row[0][DIGEST_BYTES:]
    # What is damaged is computed anew.
    return value if digest == _digest(key, value) else None


def save_computed(connection, key, value):
    """Stores bytes under a key; what was stored last stays, `MAX_COMPUTED` of it."""
    connection.execute("DELETE FROM computed WHERE key = ?", (key,))
    connection.execute(
        "INSERT INTO computed (key, value) VALUES (?, ?)",
        (key, _digest(key, value) + value),
    )
    connection.execute(
        "DELETE FROM computed WHERE id NOT IN "
        "(SELECT id FROM computed ORDER BY id DESC LIMIT ?)",
        (MAX_COMPUTED,),
    )


def _digest(key, value):
    content = key.encode("utf-8", "surrogatepass") + b"\0" + value
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
