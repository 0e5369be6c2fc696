"""The SQLite file of vectors: its tables, and what is asked of them."""

from dataclasses import dataclass

import apsw
import sqlite_vec

from phi3_bento.cache.semantic.base import Neighbour, Row, Vector
from phi3_bento.cache.sqlite_file import FileConnection

CLEAR_ROWS = 512
_EXPIRED_ROWS = 32
"""Rows whose time is over that one write removes."""

# The vectors stand apart, sorted by partition, so that a search reads nothing else. A table of
# vec0 could do the same, and would take 13 KB for the first row of each partition: most hold one.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, scope TEXT NOT NULL,
    partition TEXT NOT NULL, expires_at REAL NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entries_scope ON entries (scope);
CREATE INDEX IF NOT EXISTS entries_expires_at ON entries (expires_at);
CREATE TABLE IF NOT EXISTS vectors (
    partition TEXT NOT NULL, id INTEGER NOT NULL, expires_at REAL NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (partition, id)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS entries_forget AFTER DELETE ON entries BEGIN
    DELETE FROM vectors WHERE partition = old.partition AND id = old.id;
END;
"""
_PRAGMAS = (
    "page_size = 8192",  # a row with its vector fits a quarter of it, and spills into no other
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "secure_delete = FAST",
)
_NEAREST = """
SELECT key, sealed, 1 - distance FROM (
    SELECT id, vec_distance_cosine(vector, ?2) AS distance FROM vectors
    WHERE partition = ?1 AND expires_at > ?3 ORDER BY distance LIMIT ?4)
JOIN entries USING (id) ORDER BY distance
"""


@dataclass(frozen=True, slots=True)
class Write:
    """One row to keep, until when, and how many rows there may be then; times in Unix time."""

    row: Row
    expires_at: float
    now: float
    cap_rows: int


class VectorConnection(FileConnection[apsw.Connection]):
    """A connection that knows sqlite-vec; Python's own library may be built without extensions.

    While it searches, apsw holds none of Python's locks.
    """

    library_error = apsw.Error

    def connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        try:
            connection.set_busy_timeout(int(self._lock_wait_s * 1000))
            connection.enable_load_extension(True)
            connection.load_extension(sqlite_vec.loadable_path())  # type: ignore[no-untyped-call]
            connection.enable_load_extension(False)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def code_of(self, error: Exception) -> int:
        return int(getattr(error, "result", 0))


def nearest(
    connection: apsw.Connection, partition: str, vector: Vector, limit: int, now: float
) -> list[Neighbour]:
    """The rows of a partition that are most similar, best first."""
    values = (partition, bytes_of(vector), now, max(limit, 0))
    rows = connection.execute(_NEAREST, values)
    return [Neighbour(key, sealed, float(similarity)) for key, sealed, similarity in rows]


def write(connection: apsw.Connection, work: Write) -> None:
    """Keep a row instead of the one of its key; remove what is over, and the oldest too many."""
    row = work.row
    remove(connection, row.key)  # first, so that the transaction begins as a writer's
    _delete(connection, f"expires_at <= ? ORDER BY expires_at LIMIT {_EXPIRED_ROWS}", work.now)
    connection.execute(
        "INSERT INTO entries (key, scope, partition, expires_at, sealed) VALUES (?, ?, ?, ?, ?)",
        (row.key, row.scope, row.partition, work.expires_at, row.sealed),
    )
    connection.execute(
        "INSERT INTO vectors VALUES (?, ?, ?, ?)",
        (row.partition, connection.last_insert_rowid(), work.expires_at, bytes_of(row.vector)),
    )
    if (excess := count(connection) - work.cap_rows) > 0:
        _delete(connection, "true ORDER BY id LIMIT ?", excess)


def remove(connection: apsw.Connection, key: str) -> None:
    """Forget one key."""
    connection.execute("DELETE FROM entries WHERE key = ?", (key,))


def clear_some(connection: apsw.Connection, scope: str | None) -> int:
    """Forget up to `CLEAR_ROWS` rows of a scope, or of all (None); returns how many there were."""
    which = "?1 IS NULL" if scope is None else "scope = ?1"
    return _delete(connection, f"{which} LIMIT {CLEAR_ROWS}", scope)


def count(connection: apsw.Connection) -> int:
    """All rows."""
    return int(connection.execute("SELECT count(*) FROM entries").get)


def bytes_of(vector: Vector) -> bytes:
    """The vector as sqlite-vec reads it."""
    return vector.astype("<f4").tobytes()


def _delete(connection: apsw.Connection, which: str, value: float | str | None) -> int:
    """Delete the rows that one of this file's conditions names; returns how many."""
    chosen = f"SELECT id FROM entries WHERE {which}"  # noqa: S608
    connection.execute(f"DELETE FROM entries WHERE id IN ({chosen})", (value,))  # noqa: S608
    return connection.changes()
