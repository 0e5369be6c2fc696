"""The database is made, brought up to date by many at once, and refused in a sentence."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, insert, inspect, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import StartFailure
from phi3_bento.tables import insert_missing, metadata, tenants
from tests.servers import new_database

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'phi3.db'}"
    return await new_database(request.getfixturevalue("postgresql_url"))


@pytest_asyncio.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(url)
    yield engine
    await engine.dispose()


async def differences(engine: AsyncEngine, wanted: MetaData) -> list[Any]:
    async with engine.connect() as connection:
        return await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": True}), wanted
            )
        )


async def test_the_migrations_make_exactly_the_tables(engine: AsyncEngine) -> None:
    assert await differences(engine, metadata)
    await upgrade(engine)
    assert await differences(engine, metadata) == []


async def test_a_column_that_no_migration_makes_would_be_noticed(engine: AsyncEngine) -> None:
    await upgrade(engine)
    wanted = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(wanted)
    wanted.tables["usage"].append_column(Column("forgotten", Integer))
    (difference,) = await differences(engine, wanted)
    assert difference[0] == "add_column"


async def test_a_second_upgrade_changes_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(insert(tenants).values(id="acme", created_at=NOON))
    await upgrade(engine)
    async with engine.connect() as connection:
        assert (await connection.execute(select(tenants.c.id))).scalars().all() == ["acme"]


async def test_processes_that_start_at_once_all_find_the_tables(
    url: str, engine: AsyncEngine
) -> None:
    program = (
        "import asyncio, sys\n"
        "from phi3_bento.database import open_database, upgrade\n"
        "async def main():\n"
        "    engine = open_database(sys.argv[1])\n"
        "    sys.stdin.readline()\n"
        "    await asyncio.gather(*(upgrade(engine) for _ in range(3)))\n"
        "    await engine.dispose()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, stdin=-1, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    results = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 4, results
    assert await differences(engine, metadata) == []


async def test_an_upgrade_that_fails_leaves_nothing_behind(url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        # The first revision makes this table last.
        await connection.execute(text("CREATE TABLE usage (id INTEGER)"))
    with pytest.raises(StartFailure, match="already exists"):
        await upgrade(engine)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert names == ["usage"]


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'fedcba'"))
    with pytest.raises(StartFailure, match=r"newer version of phi3-bento \(revision fedcba\)"):
        await upgrade(engine)
    assert await differences(engine, metadata) == []


async def test_logging_stays_as_it_was(engine: AsyncEngine) -> None:
    def state() -> list[tuple[str, int, bool, list[logging.Handler]]]:
        known = [logging.getLogger(), *map(logging.getLogger, ("phi3_bento", "alembic", "uvicorn"))]
        return [(log.name, log.level, log.disabled, list(log.handlers)) for log in known]

    before = state()
    await upgrade(engine)
    assert state() == before


async def test_moments_come_back_in_utc_with_their_zone(engine: AsyncEngine) -> None:
    await upgrade(engine)
    given = datetime(2026, 7, 1, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    async with engine.begin() as connection:
        await connection.execute(insert(tenants).values(id="acme", created_at=given))
        read = (await connection.execute(select(tenants.c.created_at))).scalar_one()
    assert read == given
    assert read.tzinfo is UTC


async def test_moments_are_compared_in_the_database(engine: AsyncEngine) -> None:
    await upgrade(engine)
    east = timezone(timedelta(hours=9))
    async with engine.begin() as connection:
        await connection.execute(insert(tenants).values(id="acme", created_at=NOON))
        later = select(tenants.c.id).where(tenants.c.created_at > NOON.astimezone(east))
        assert (await connection.execute(later)).first() is None
        a_moment = timedelta(microseconds=1)
        later = select(tenants.c.id).where(tenants.c.created_at > NOON.astimezone(east) - a_moment)
        assert (await connection.execute(later)).scalar_one() == "acme"


async def test_a_moment_without_a_zone_is_refused(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.connect() as connection:
        with pytest.raises(StatementError, match="no time zone"):
            await connection.execute(
                insert(tenants).values(id="acme", created_at=NOON.replace(tzinfo=None))
            )


async def test_a_row_that_is_there_already_is_passed_over(engine: AsyncEngine) -> None:
    await upgrade(engine)
    statement = insert_missing(tenants, engine.dialect.name)
    for moment in (NOON, NOON + timedelta(days=1)):
        async with engine.begin() as connection:
            await connection.execute(statement.values(id="acme", created_at=moment))
    async with engine.connect() as connection:
        assert (await connection.execute(select(tenants.c.created_at))).scalars().all() == [NOON]


async def test_sqlite_waits_for_locks_and_writes_ahead(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'phi3.db'}")
    async with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            read = [
                (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            ]
            assert read == ["wal", 1, 5000, 1]
    await engine.dispose()


async def test_only_its_owner_can_read_a_new_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "phi3.db"
    await open_database(f"sqlite:///{path}").dispose()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_encrypted_connection_may_be_preferred(postgresql_url: str) -> None:
    engine = open_database(await new_database(postgresql_url) + "?sslmode=prefer")
    await upgrade(engine)
    await engine.dispose()


def test_usage_refers_to_nothing() -> None:
    """Its rows are written again after outages, in any order."""
    usage: Table = metadata.tables["usage"]
    assert not usage.foreign_keys
