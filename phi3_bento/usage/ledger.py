"""The ledger: one row in the database for every request that was let in, by group commit.

A row is committed before its answer is complete: to the database or, while that is away, to a
journal on this disk. No end of the process loses it; of a power failure SQLite may lose the last
moments, as it is set here. Rows have ids of their own: one that is written twice is there once.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.database import DATABASE_ERRORS
from phi3_bento.errors import LedgerUnavailable
from phi3_bento.record import RequestRecord
from phi3_bento.tables import insert_missing, usage
from phi3_bento.usage.journal import Journal, Row

logger = logging.getLogger("bentoml.phi3")

COMMIT_LIMIT_S = 2.0
"""How long an answer waits for the database before its row goes to the journal."""

RETRY_S = 5.0
"""Seconds after which a database that failed is tried again, and the journal replayed."""

_BATCH_ROWS = 500


class Ledger:
    """Writes rows of one process; belongs to one event loop. `start` it before the first row."""

    def __init__(
        self,
        database: AsyncEngine,
        journal: Journal,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._database = database
        self._journal = journal
        self._retry_s = retry_s
        self._insert = insert_missing(usage, database.dialect.name)
        self._pending: list[tuple[Row, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._appending = asyncio.Lock()
        self._database_works = True
        self._problem: str | None = None
        self._closing = False

    @property
    def pending_rows(self) -> int:
        """Rows that are not durable yet."""
        return len(self._pending)

    @property
    def uses_journal(self) -> bool:
        """The database has failed, and rows go to this disk."""
        return not self._database_works

    def start(self) -> None:
        """Begin to write, and to replay what an earlier process left in the journal."""
        self._tasks = [asyncio.create_task(self._write_all()), asyncio.create_task(self._replay())]

    def check(self) -> None:
        """Raise `LedgerUnavailable` while rows can be kept nowhere: work would go uncounted."""
        if self._problem is not None:
            raise LedgerUnavailable(f"Usage cannot be recorded: {self._problem}")

    async def write(self, record: RequestRecord) -> None:
        """Return when the record's row is durable."""
        await asyncio.shield(self.write_soon(record))

    def write_soon(self, record: RequestRecord) -> asyncio.Future[None]:
        """Have the row written; for who cannot wait, as when a client has hung up."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((row_of(record), written))
        self._wake.set()
        return written

    async def close(self) -> None:
        """Write what is pending and stop. The database stays open. Idempotent."""
        if not self._tasks:
            return
        self._closing = True
        self._wake.set()
        writer, replay = self._tasks
        replay.cancel()
        await asyncio.gather(writer, replay, return_exceptions=True)
        self._tasks = []

    async def _write_all(self) -> None:
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending[:_BATCH_ROWS], self._pending[_BATCH_ROWS:]
            if batch:
                await self._write_batch([row for row, _ in batch])
            for _, written in batch:
                if not written.done():
                    written.set_result(None)
            if self._pending or self._closing:
                self._wake.set()

    async def _write_batch(self, rows: list[Row]) -> None:
        """Keep `rows` somewhere, however long it takes: an answer waits for each of them."""
        while True:
            if self._database_works and await self._committed(rows):
                return
            try:
                async with self._appending:
                    await asyncio.to_thread(self._journal.append, rows)
            except OSError as error:
                self._problem = f"neither the database nor the journal takes it ({error})."
                logger.error("%s %d rows wait.", self._problem, len(rows))
                await asyncio.sleep(1.0)
                self._database_works = True
            else:
                self._problem = None
                return

    async def _committed(self, rows: list[Row]) -> bool:
        try:
            async with asyncio.timeout(COMMIT_LIMIT_S):
                async with self._database.begin() as connection:
                    await connection.execute(self._insert, [_typed(row) for row in rows])
        except (*DATABASE_ERRORS, TimeoutError) as error:
            self._database_works = False
            logger.warning("Usage goes to the journal: the database failed (%r).", error)
            return False
        self._problem = None
        return True

    async def _replay(self) -> None:
        """Now and again bring the journal's rows into the database."""
        while True:
            with suppress(OSError):
                await self._replay_files()
            await asyncio.sleep(self._retry_s)

    async def _replay_files(self) -> None:
        async with self._appending:
            await asyncio.to_thread(self._journal.close_file)
        while (taken := await asyncio.to_thread(self._journal.take)) is not None:
            rows = await asyncio.to_thread(taken.rows)
            for start in range(0, len(rows), _BATCH_ROWS):
                if not await self._committed(rows[start : start + _BATCH_ROWS]):
                    await asyncio.to_thread(taken.give_back)
                    return
            await asyncio.to_thread(taken.remove)
            logger.info("Brought %d rows of usage from the journal to the database.", len(rows))
        self._database_works = True


def row_of(record: RequestRecord) -> Row:
    """A finished request as a row of the table `usage`, in JSON's types."""
    first_s = record.seconds_to_first_piece
    return {
        "id": record.id,
        "request_id": record.request_id,
        "tenant": record.caller.tenant,
        "key_id": record.caller.key_id,
        "operation": record.operation.value,
        "model": record.model,
        "prompt_tokens": record.tokens.prompt,
        "cached_tokens": record.tokens.cached,
        "completion_tokens": record.tokens.completion,
        "cache_status": record.cache_status,
        "received_at": datetime.fromtimestamp(record.received_at, UTC).isoformat(),
        "ttft_ms": None if first_s is None else first_s * 1000,
        "duration_ms": record.seconds * 1000,
        "outcome": record.outcome,
    }


def _typed(row: Row) -> Row:
    return row | {"received_at": datetime.fromisoformat(row["received_at"])}
