"""The ledger holds every row once, whatever becomes of its database; on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.caller import Caller
from phi3_bento.core import Operation, TokenCount
from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import Unavailable
from phi3_bento.record import RequestRecord
from phi3_bento.tables import usage
from phi3_bento.usage.journal import Journal
from phi3_bento.usage.ledger import Ledger
from phi3_bento.usage.report import Grouping, summarise
from tests.servers import new_database
from tests.support import wait_for_async

ACME = Caller(tenant="acme", key_id="k1")
RETRY_S = 0.05


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = f"sqlite:///{tmp_path}/usage.db"
    if request.param == "postgresql":
        url = await new_database(request.getfixturevalue("postgresql_url"))
    engine = open_database(url)
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def ledger(database: AsyncEngine, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, Journal(tmp_path / "journal"), retry_s=RETRY_S)
    ledger.start()
    yield ledger
    await ledger.close()


def finished(request_id: str = "r", **changes: Any) -> RequestRecord:
    tokens = TokenCount(prompt=10, cached=4, completion=3)
    record = RequestRecord(Operation.CHAT, request_id, ACME, model="m", tokens=tokens, outcome="ok")
    record.ended_at = record.started_at + 0.5
    return replace(record, **changes)


async def rows(database: AsyncEngine) -> list[Any]:
    async with database.connect() as connection:
        return list((await connection.execute(select(usage))).mappings().all())


async def test_a_row_is_there_when_write_returns(ledger: Ledger, database: AsyncEngine) -> None:
    record = finished("abc", received_at=datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp())
    record.first_piece_at = record.started_at + 0.2
    await ledger.write(record)
    (row,) = await rows(database)
    assert dict(row) == {
        "id": record.id,
        "request_id": "abc",
        "tenant": "acme",
        "key_id": "k1",
        "operation": "chat",
        "model": "m",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 3,
        "cache_status": None,
        "received_at": datetime(2026, 5, 1, 12, tzinfo=UTC),
        "ttft_ms": pytest.approx(200),
        "duration_ms": pytest.approx(500),
        "outcome": "ok",
    }


async def test_many_rows_at_once_cost_few_commits(ledger: Ledger, database: AsyncEngine) -> None:
    commits = 0
    inner = ledger._committed

    async def counted(batch: list[Any]) -> bool:
        nonlocal commits
        commits += 1
        return await inner(batch)

    ledger._committed = counted  # type: ignore[method-assign]
    await asyncio.gather(*(ledger.write(finished(f"r{n}")) for n in range(1200)))
    assert len(await rows(database)) == 1200
    assert commits <= 5


async def test_two_requests_of_one_id_are_two_rows(ledger: Ledger, database: AsyncEngine) -> None:
    await asyncio.gather(ledger.write(finished("same")), ledger.write(finished("same")))
    assert len(await rows(database)) == 2


async def test_a_row_that_is_written_twice_is_there_once(
    ledger: Ledger, database: AsyncEngine
) -> None:
    record = finished()
    await ledger.write(record)
    await ledger.write(record)
    assert len(await rows(database)) == 1


async def test_close_writes_what_nobody_waited_for(ledger: Ledger, database: AsyncEngine) -> None:
    for number in range(10):
        ledger.write_soon(finished(f"r{number}"))
    await ledger.close()
    assert len(await rows(database)) == 10


class Outage:
    """The table is away, as a whole database would be: every insert fails."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def begin(self) -> None:
        await self._run("ALTER TABLE usage RENAME TO usage_away")

    async def end(self) -> None:
        await self._run("ALTER TABLE usage_away RENAME TO usage")

    async def _run(self, statement: str) -> None:
        async with self._database.begin() as connection:
            await connection.exec_driver_sql(statement)


async def test_during_an_outage_rows_go_to_the_journal_and_come_back_once(
    ledger: Ledger, database: AsyncEngine, tmp_path: Path
) -> None:
    outage = Outage(database)
    await ledger.write(finished("before"))
    await outage.begin()
    await asyncio.gather(*(ledger.write(finished(f"during{n}")) for n in range(50)))
    ledger.check()
    assert ledger.uses_journal
    assert list((tmp_path / "journal").glob("*.jsonl"))
    await outage.end()
    await ledger.write(finished("after"))

    async def all_back() -> bool:
        is_replayed = not ledger.uses_journal and not list((tmp_path / "journal").iterdir())
        return is_replayed and len(await rows(database)) == 52

    await wait_for_async(all_back, "all rows are in the database")
    assert len({row["id"] for row in await rows(database)}) == 52
    assert ledger.pending_rows == 0


async def test_what_a_dead_process_left_in_the_journal_is_brought_in(
    database: AsyncEngine, tmp_path: Path
) -> None:
    """Two of its rows were committed before it died; its last line was cut off."""
    outage = Outage(database)
    await outage.begin()
    dead = Ledger(database, Journal(tmp_path / "journal"), retry_s=60)
    dead.start()
    records = [finished(f"r{n}") for n in range(4)]
    await asyncio.gather(*map(dead.write, records))
    await dead.close()
    (file,) = (tmp_path / "journal").glob("*.jsonl")
    with file.open("a") as stream:
        stream.write('{"id": "cut o')
    dead._journal.close_file()
    await outage.end()
    ledger = Ledger(database, Journal(tmp_path / "journal"), retry_s=RETRY_S)
    ledger.start()
    await asyncio.gather(*map(ledger.write, records[:2]))

    async def replayed() -> bool:
        return not list((tmp_path / "journal").iterdir())

    await wait_for_async(replayed, "the journal is empty")
    await ledger.close()
    assert sorted(row["request_id"] for row in await rows(database)) == ["r0", "r1", "r2", "r3"]


async def test_the_journal_of_a_living_process_is_left_alone(
    database: AsyncEngine, tmp_path: Path
) -> None:
    living = Journal(tmp_path / "journal")
    living.append([{"id": "x"}])
    assert Journal(tmp_path / "journal").take() is None
    living.close_file()
    taken = Journal(tmp_path / "journal").take()
    assert taken is not None
    assert taken.rows() == [{"id": "x"}]
    taken.remove()


async def test_without_database_and_journal_no_more_work_is_taken_and_no_row_is_lost(
    database: AsyncEngine, tmp_path: Path
) -> None:
    outage = Outage(database)
    await outage.begin()
    (tmp_path / "journal").write_text("a file where the directory should be")
    ledger = Ledger(database, Journal(tmp_path / "journal"), retry_s=RETRY_S)
    ledger.start()
    written = ledger.write_soon(finished())

    async def refuses() -> bool:
        try:
            ledger.check()
        except Unavailable:
            return True
        return False

    await wait_for_async(refuses, "new work is refused")
    assert not written.done()
    await outage.end()
    await written
    ledger.check()
    assert len(await rows(database)) == 1
    await ledger.close()


async def test_sums_are_made_by_key_tenant_day_and_model(
    ledger: Ledger, database: AsyncEngine
) -> None:
    # An hour that is another day in most time zones.
    late = datetime(2026, 5, 1, 23, 30, tzinfo=UTC).timestamp()
    await ledger.write(finished(received_at=late))
    await ledger.write(finished(received_at=late + 3600, outcome="aborted"))
    other = Caller(tenant="other", key_id="k2")
    await ledger.write(finished(received_at=late + 3600, caller=other))
    by_key = await summarise(database, by=Grouping.KEY)
    assert [(each.name, each.requests, each.failed) for each in by_key] == [
        ("k1", 2, 1),
        ("k2", 1, 0),
    ]
    assert (by_key[0].prompt_tokens, by_key[0].cached_tokens, by_key[0].completion_tokens) == (
        *(20, 8, 6),
    )
    days = await summarise(database, by=Grouping.DAY)
    assert [(each.name, each.requests) for each in days] == [("2026-05-01", 1), ("2026-05-02", 2)]
    second = datetime(2026, 5, 2, tzinfo=UTC)
    assert [each.requests for each in await summarise(database, since=second)] == [1, 1]
    assert [each.name for each in await summarise(database, until=second)] == ["k1"]
    tenants = await summarise(database, by=Grouping.TENANT, tenant="other")
    assert [each.name for each in tenants] == ["other"]
    assert [each.name for each in await summarise(database, by=Grouping.MODEL)] == ["m"]
