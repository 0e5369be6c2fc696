"""The rows of the SQLite store: reading, writing within a size, and forgetting."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

PAGE_BYTES = 4096
BATCH_ROWS = 32
"""Rows whose time is over that one put removes."""

CLEAR_ROWS = 512
SOME_ROWS = 64
SOME_BYTES = 2**20
"""What one visit reads of many rows: requests wait for its end."""

_MAX_WAL_PAGES = 1000
_INDEX_PAGES = 8
"""What a new row may take beside the pages of its own bytes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, expires_at REAL NOT NULL,
    used_at REAL NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entries_scope ON entries (scope);
CREATE INDEX IF NOT EXISTS entries_expires_at ON entries (expires_at);
CREATE INDEX IF NOT EXISTS entries_used_at ON entries (used_at);
"""
_LIVE_PAGES = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"

Row = tuple[str, str, float, float, bytes]
"""Key, scope, end and last use in Unix time, and the sealed bytes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How `cap_bytes` are shared out: most to the file, the rest to its write-ahead log.

    The log outgrows the size at which it is written back by a transaction: a large row, and all
    pages that change when others make room for it.
    """

    cap_bytes: int

    @property
    def wal_pages(self) -> int:
        """Pages of the log at which it is written back to the file."""
        return min(self.cap_bytes // PAGE_BYTES // 16, _MAX_WAL_PAGES)

    @property
    def pages(self) -> int:
        """Pages of the file at most."""
        return self.cap_bytes // PAGE_BYTES - 5 * self.wal_pages

    def takes(self, sealed: bytes) -> bool:
        """Whether a row is small enough to be kept, and to leave others beside it."""
        return len(sealed) <= self.wal_pages * PAGE_BYTES


def read(connection: sqlite3.Connection, key: str, now: float) -> tuple[bytes, float] | None:
    """The sealed bytes of `key` and when they were last used; None where there are none."""
    query = "SELECT sealed, used_at FROM entries WHERE key = ? AND expires_at > ?"
    found: tuple[bytes, float] | None = connection.execute(query, (key, now)).fetchone()
    return found


def write(
    connection: sqlite3.Connection, row: Row, used_at: dict[str, float], now: float, size: Size
) -> None:
    """Keep `row`, note what was used lately, and remove what is over or has no room."""
    connection.execute("BEGIN IMMEDIATE")
    uses = [(moment, key) for key, moment in used_at.items()]
    connection.executemany("UPDATE entries SET used_at = ? WHERE key = ?", uses)
    _delete(connection, "expires_at <= ? ORDER BY expires_at", (now,), BATCH_ROWS)
    connection.execute("DELETE FROM entries WHERE key = ?", (row[0],))
    if not size.takes(row[4]):
        return
    needed = len(row[4]) // PAGE_BYTES + 1 + _INDEX_PAGES
    while _live_pages(connection) + needed > size.pages:
        if not _delete(connection, "true ORDER BY used_at", (), 1):
            return
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", row)


def remove(connection: sqlite3.Connection, key: str) -> None:
    """Forget one key."""
    connection.execute("DELETE FROM entries WHERE key = ?", (key,))


def clear_some(connection: sqlite3.Connection, scope: str | None) -> int:
    """Forget up to `CLEAR_ROWS` rows of a scope, or of all (None); returns how many there were."""
    if scope is None:
        return _delete(connection, "true", (), CLEAR_ROWS)
    return _delete(connection, "scope = ?", (scope,), CLEAR_ROWS)


def read_some(
    connection: sqlite3.Connection, scope: str | None, after: int, now: float
) -> tuple[list[tuple[str, bytes]], int | None]:
    """Keys and bytes of the next rows of a scope, or of all (None), behind row number `after`.

    Returns with them the number of the last one; None: there are no more. About `SOME_BYTES`.
    """
    which = "" if scope is None else "scope = :scope AND "
    query = (
        f"SELECT rowid, key, sealed FROM entries WHERE {which}rowid > :after "  # noqa: S608
        "AND +expires_at > :now ORDER BY rowid"
    )
    found: list[tuple[str, bytes]] = []
    size_bytes = 0
    values = {"scope": scope, "after": after, "now": now}
    with closing(connection.execute(query, values)) as rows:
        for number, key, sealed in rows:
            found.append((key, sealed))
            size_bytes += len(sealed)
            if len(found) == SOME_ROWS or size_bytes >= SOME_BYTES:
                return found, number
    return found, None


def measure(connection: sqlite3.Connection, now: float) -> tuple[int, int]:
    """How many rows are not over, and the bytes that the file has in use."""
    query = "SELECT count(*) FROM entries WHERE expires_at > ?"
    rows = int(connection.execute(query, (now,)).fetchone()[0])
    return rows, _live_pages(connection) * PAGE_BYTES


def _delete(connection: sqlite3.Connection, which: str, values: tuple[Any, ...], rows: int) -> int:
    """Delete up to `rows` rows; `which` is one of the conditions of this file."""
    chosen = f"SELECT rowid FROM entries WHERE {which} LIMIT {rows}"  # noqa: S608
    statement = f"DELETE FROM entries WHERE rowid IN ({chosen})"  # noqa: S608
    return connection.execute(statement, values).rowcount


def _live_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_LIVE_PAGES).fetchone()[0])
