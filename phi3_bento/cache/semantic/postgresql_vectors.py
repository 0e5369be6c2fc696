"""Vectors in PostgreSQL with pgvector."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.semantic.base import (
    DIMENSIONS,
    Neighbour,
    Row,
    Vector,
    check_names,
    check_row,
    check_vector,
)

LIMIT_S = 1.0
"""One call, the connection to the server included; clearing and making the table take longer."""

LONG_LIMIT_S = 30.0
MAX_CONNECTIONS = 4
_LOCK = 11404
_TRIMS = 32
"""The rows are counted once in as many adds as bring a thirty-second of the cap."""

_SERVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_TABLE = f"""
CREATE TABLE IF NOT EXISTS phi3_vectors (
    key text PRIMARY KEY, scope text NOT NULL, partition text NOT NULL,
    added_at double precision NOT NULL, expires_at double precision NOT NULL,
    sealed bytea NOT NULL, vector vector({DIMENSIONS}) NOT NULL);
-- Kept in its row: a search would fetch each from beside the table.
ALTER TABLE phi3_vectors ALTER COLUMN vector SET STORAGE PLAIN;
CREATE INDEX IF NOT EXISTS phi3_vectors_partition ON phi3_vectors (partition);
CREATE INDEX IF NOT EXISTS phi3_vectors_scope ON phi3_vectors (scope);
CREATE INDEX IF NOT EXISTS phi3_vectors_added_at ON phi3_vectors (added_at);
CREATE INDEX IF NOT EXISTS phi3_vectors_expires_at ON phi3_vectors (expires_at);
"""
_ADD = """
INSERT INTO phi3_vectors VALUES ($1, $2, $3, $4, $5, $6, $7::real[]::vector)
ON CONFLICT (key) DO UPDATE SET scope = excluded.scope, partition = excluded.partition,
    added_at = excluded.added_at, expires_at = excluded.expires_at, sealed = excluded.sealed,
    vector = excluded.vector
"""
# As a query of its own, the vector is read from its numbers once, and not for each row.
_NEAREST = """
SELECT key, sealed, 1 - distance AS similarity FROM (
    SELECT key, sealed, vector <=> (SELECT $2::real[]::vector) AS distance FROM phi3_vectors
    WHERE partition = $1 AND expires_at > $3 ORDER BY distance LIMIT $4) AS found
ORDER BY distance
"""
# What another has locked, it is removing itself.
_TRIM = """
DELETE FROM phi3_vectors WHERE key IN (
    SELECT key FROM phi3_vectors WHERE expires_at <= $1 OR added_at <= (
        SELECT added_at FROM phi3_vectors ORDER BY added_at DESC OFFSET $2 LIMIT 1)
    FOR UPDATE SKIP LOCKED)
"""
# In one order, so that two that clear at once cannot wait for each other.
_CLEAR = """
DELETE FROM phi3_vectors WHERE key IN (
    SELECT key FROM phi3_vectors WHERE $1::text IS NULL OR scope = $1 ORDER BY key FOR UPDATE)
"""

T = TypeVar("T")
Work = Callable[[Any], Awaitable[T]]


class PostgresqlVectors:
    """A table of at most `cap_rows` rows, and a thirty-second more, for all replicas.

    The table, and the extension, are made at the first call. A connection on which anything went
    wrong is closed and not used again.
    """

    def __init__(self, url: str, cap_rows: int, clock: Callable[[], float] = time.time) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._cap_rows = cap_rows
        self._clock = clock
        self._pool: Any = None
        self._preparation: asyncio.Task[None] | None = None
        self._adds_to_trim = 0
        self._is_closed = False

    async def add(self, row: Row, ttl_s: float) -> None:
        check_row(row)
        if not ttl_s > 0:
            await self.remove(row.key)
            return
        now = self._clock()
        names, vector = (row.key, row.scope, row.partition), row.vector.tolist()
        values = (*names, now, now + ttl_s, row.sealed, vector)
        await self._answer(lambda connection: connection.execute(_ADD, *values))
        await self._trim(now)

    async def nearest(self, partition: str, vector: Vector, limit: int) -> list[Neighbour]:
        check_names(partition)
        check_vector(vector)
        values = (partition, vector.tolist(), self._clock(), max(limit, 0))
        rows = await self._answer(lambda connection: connection.fetch(_NEAREST, *values))
        return [Neighbour(key, sealed, similarity) for key, sealed, similarity in rows]

    async def remove(self, key: str) -> None:
        check_names(key)
        query = "DELETE FROM phi3_vectors WHERE key = $1"
        await self._answer(lambda connection: connection.execute(query, key))

    async def clear(self, scope: str | None) -> int:
        status: str = await self._answer(
            lambda connection: connection.execute(_CLEAR, scope), LONG_LIMIT_S
        )
        return int(status.removeprefix("DELETE "))

    async def count(self) -> int:
        query = "SELECT count(*) FROM phi3_vectors"
        return int(await self._answer(lambda connection: connection.fetchval(query)))

    async def close(self) -> None:
        self._is_closed = True
        if self._preparation is not None:
            self._preparation.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _trim(self, now: float) -> None:
        """Remove what is over, and the oldest of too many: at the first add, and then rarely."""
        self._adds_to_trim -= 1
        if self._adds_to_trim > 0:
            return
        self._adds_to_trim = self._cap_rows // _TRIMS
        await self._answer(lambda connection: connection.execute(_TRIM, now, self._cap_rows))

    async def _answer(self, work: Work[T], limit_s: float = LIMIT_S) -> T:
        """What the server answers, the table being there. Raises `StoreFailure`."""
        if self._is_closed:
            raise StoreFailure("The store is closed.")
        try:
            await self._prepared()
            return await self._on_connection(work, limit_s)
        except TimeoutError as error:
            raise StoreFailure(f"PostgreSQL: no answer within {limit_s:g} s.") from error
        except (*_SERVER_ERRORS, OSError, ValueError) as error:
            # The table may be gone, with the server that had it.
            self._preparation = None
            raise StoreFailure(f"PostgreSQL: {self._reason(error)}") from error

    async def _on_connection(self, work: Work[T], limit_s: float) -> T:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=MAX_CONNECTIONS,
                timeout=LIMIT_S,
                server_settings={"application_name": "phi3-bento"},
            )
            await self._pool
        async with asyncio.timeout(limit_s), self._pool.acquire() as connection:
            try:
                return await work(connection)
            except BaseException:
                # Else it would be asked to stop its work, and waited for.
                connection.terminate()
                raise

    async def _prepared(self) -> None:
        """Wait until extension and table are there; who gives up waiting stops nobody."""
        if self._preparation is None:
            self._preparation = asyncio.create_task(self._prepare())
            self._preparation.add_done_callback(self._forget_failed)
        await asyncio.shield(self._preparation)

    async def _prepare(self) -> None:
        is_there = "SELECT to_regclass('phi3_vectors') IS NOT NULL"
        if not await self._on_connection(lambda c: c.fetchval(is_there), LIMIT_S):
            await self._on_connection(_make_table, LONG_LIMIT_S)

    def _forget_failed(self, preparation: asyncio.Task[None]) -> None:
        """The next call prepares again."""
        if preparation.cancelled() or preparation.exception():
            self._preparation = None

    def _reason(self, error: Exception) -> str:
        """What the error says, without the password of the URL."""
        reason = str(error).partition("\n")[0] or type(error).__name__
        password = urlsplit(self._url).password
        if not password:
            return reason
        return reason.replace(password, "***").replace(unquote(password), "***")


async def _make_table(connection: Any) -> None:
    """Extension and table in one transaction, alone among all processes that do it."""
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except asyncpg.PostgresError as error:
            raise StoreFailure(
                f"PostgreSQL: the extension pgvector cannot be used ({error}): install pgvector on "
                "the server, and let this user, or an administrator, run CREATE EXTENSION vector."
            ) from error
        await connection.execute(_TABLE)
