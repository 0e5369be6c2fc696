"""The vectors in PostgreSQL while it stops, dies and comes back; the file when it is damaged."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw
import asyncpg
import pytest

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.semantic.postgresql_vectors import LIMIT_S, PostgresqlVectors
from phi3_bento.cache.semantic.sqlite_vectors import SqliteVectors
from tests.contracts.test_vectors import CAP_ROWS, HOUR_S, OTHER, PARTITION, keys_in, row_of
from tests.servers import OwnPostgresql, own_postgresql


@pytest.fixture
def server(tmp_path: Path, pgvector_home: Path) -> Iterator[OwnPostgresql]:
    with own_postgresql(tmp_path, pgvector_home) as server:
        yield server


@contextmanager
def stopped(server: OwnPostgresql) -> Iterator[None]:
    """It holds its connections, and answers nothing."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def killed(server: OwnPostgresql) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@pytest.fixture
async def postgresql(server: OwnPostgresql) -> AsyncIterator[PostgresqlVectors]:
    store = PostgresqlVectors(server.url, CAP_ROWS)
    yield store
    await store.close()


async def flush(server: OwnPostgresql) -> None:
    """Have the server write its rows: that of the tests does not wait for its disk."""
    connection = await asyncpg.connect(server.url)
    await connection.execute("CHECKPOINT")
    await connection.close()


Outage = Callable[[OwnPostgresql], AbstractContextManager[None]]


@pytest.mark.parametrize("outage", [stopped, killed])
async def test_while_postgresql_is_away_every_call_fails_soon_and_it_returns_by_itself(
    server: OwnPostgresql, postgresql: PostgresqlVectors, outage: Outage
) -> None:
    await asyncio.gather(*(postgresql.add(row_of(number), HOUR_S) for number in range(10)))
    await flush(server)
    with outage(server):
        for _ in range(2):
            calls = [keys_in(postgresql), postgresql.add(row_of(10), HOUR_S), postgresql.count()]
            async with asyncio.timeout(4 * LIMIT_S):
                results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [StoreFailure] * 3
    await postgresql.add(row_of(11), HOUR_S)
    assert {*range(10), 11} <= set(await keys_in(postgresql))


async def test_a_postgresql_that_only_restarts_is_at_once_back_in_use(
    server: OwnPostgresql, postgresql: PostgresqlVectors
) -> None:
    await postgresql.add(row_of(1), HOUR_S)
    await flush(server)
    with killed(server):
        pass
    await asyncio.sleep(0.1)  # for the loop to see that its connection is closed
    assert await keys_in(postgresql) == [1]


async def test_a_store_that_begins_in_an_outage_is_there_after_it(server: OwnPostgresql) -> None:
    store = PostgresqlVectors(server.url, CAP_ROWS)
    with killed(server):
        for _ in range(2):
            with pytest.raises(StoreFailure, match="PostgreSQL"):
                await store.count()
    await store.add(row_of(1), HOUR_S)
    assert await keys_in(store) == [1]
    await store.close()


async def test_who_gives_up_waiting_for_the_table_stops_nobody(server: OwnPostgresql) -> None:
    store = PostgresqlVectors(server.url, CAP_ROWS)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await store.count()
    assert await store.count() == 0
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SqliteVectors]:
    store = SqliteVectors(path, CAP_ROWS)
    yield store
    await store.close()


def scramble(path: Path) -> None:
    """Spoil all but the first page: the schema, which is read when the file is opened."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))


def begin_with(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    "content", [b"this is no database " * 1000, b"SQLite format 3\0" + b"x" * 9000]
)
async def test_a_file_that_is_no_database_is_moved_aside(
    sqlite: SqliteVectors, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    begin_with(path, content)
    assert await sqlite.count() == 0
    await sqlite.add(row_of(1), HOUR_S)
    assert await keys_in(sqlite) == [1]
    assert path.with_name("vectors.db.corrupt").read_bytes() == content
    assert "is corrupt" in caplog.text


async def test_a_file_that_is_found_corrupt_later_costs_one_failure_and_its_content(
    sqlite: SqliteVectors, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = SqliteVectors(path, CAP_ROWS)
    for number in range(300):
        await first.add(row_of(number), HOUR_S)
    await first.close()
    assert await keys_in(sqlite, OTHER) == []
    scramble(path)
    with pytest.raises(StoreFailure, match="malformed"):
        await keys_in(sqlite)
    assert await keys_in(sqlite) == []
    await sqlite.add(row_of(1), HOUR_S)
    assert await keys_in(sqlite) == [1]
    assert caplog.text.count("is corrupt") == 1


async def test_a_vector_that_is_not_one_is_a_failure_of_its_partition(
    sqlite: SqliteVectors, path: Path
) -> None:
    await sqlite.add(row_of(1), HOUR_S)
    await sqlite.add(row_of(2, partition=OTHER), HOUR_S)
    other = apsw.Connection(str(path))
    other.execute("UPDATE vectors SET vector = x'00' WHERE partition = ?", (PARTITION,))
    other.close()
    with pytest.raises(StoreFailure):
        await keys_in(sqlite)
    assert await keys_in(sqlite, OTHER) == [2]


async def test_a_place_that_cannot_be_written_is_a_failure_until_it_can(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.touch()
    store = SqliteVectors(occupied / "vectors.db", CAP_ROWS)
    with pytest.raises(StoreFailure):
        await store.count()
    with pytest.raises(StoreFailure):
        await store.add(row_of(1), HOUR_S)
    occupied.unlink()
    await store.add(row_of(1), HOUR_S)
    assert await keys_in(store) == [1]
    await store.close()


async def test_while_somebody_else_writes_reading_goes_on(
    sqlite: SqliteVectors, path: Path
) -> None:
    await sqlite.add(row_of(1), HOUR_S)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(sqlite.add(row_of(2), HOUR_S))
    assert await keys_in(sqlite) == [1]
    with pytest.raises(StoreFailure, match="locked"):
        await waiting
    other.execute("ROLLBACK")
    other.close()
    await sqlite.add(row_of(2), HOUR_S)
    assert await keys_in(sqlite) == [1, 2]
