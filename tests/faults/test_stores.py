"""PostgreSQL and Redis are cut off, slow, and back, under load: every answer comes, once paid.

In CI over the echo engine: what is broken lies before any engine. `make faults` has the real one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
import pytest

from tests.faults.clients import Seen, chat, create_key, open_client, stream
from tests.faults.figures import IS_LONG, Figures
from tests.faults.proxy import Proxy, proxy
from tests.servers import new_database
from tests.support import Service, bentoml_command, running, wait_for_async

pytestmark = [pytest.mark.engine] if IS_LONG else []

CLIENTS = 6
PHASE_S = 15.0 if IS_LONG else 4.0
SLOW_S = 3.0
"""More than the ledger waits for its database, and the cache for its store."""

LIMITS = ("--requests-per-minute", "1000000", "--tokens-per-minute", "100000000")
"""Never reached: they are counted, in Redis."""

QUESTIONS = 5
"""That are asked again and again, beside new ones."""


class Load:
    """Clients that ask on and on, and what became of it."""

    def __init__(self) -> None:
        self.answered: list[Seen] = []
        self.others: list[Seen] = []
        self.slowest_s = 0.0

    async def run(self, client: httpx.AsyncClient, number: int) -> None:
        for turn in range(10**6):
            seen, began_at = Seen(), monotonic()
            text = f"question {turn % QUESTIONS}" if turn % 2 else seen.request_id
            body = chat(text, stream=True, temperature=0, max_tokens=4)
            try:
                await stream(client, body, seen)
            finally:
                if seen.ended_at is not None:
                    (self.answered if seen.is_complete else self.others).append(seen)
                    self.slowest_s = max(self.slowest_s, monotonic() - began_at)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def load_on(service: Service, key: str) -> AsyncIterator[Load]:
    load = Load()
    async with open_client(service, key=key) as client:
        work = [asyncio.create_task(load.run(client, number)) for number in range(CLIENTS)]
        yield load
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def ledger_of(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row["request_id"] for row in await connection.fetch("SELECT * FROM usage")]
    finally:
        await connection.close()


@pytest.fixture
def redis_proxy(redis_url: str) -> Iterator[Proxy]:
    with proxy(redis_url) as made:
        yield made


async def test_answers_go_on_and_each_has_its_one_row(
    tmp_path: Path, postgresql_url: str, redis_proxy: Proxy, figures: Figures
) -> None:
    database_url = await new_database(postgresql_url)
    key = await asyncio.to_thread(
        create_key, tmp_path, *("--tenant", "acme", *LIMITS), PHI3_DATABASE_URL=database_url
    )
    with proxy(database_url) as database:
        options = {
            "PHI3_DATABASE_URL": database.url,
            "PHI3_LIMITS_URL": redis_proxy.url,
            "PHI3_CACHE_URL": redis_proxy.url,
            **({} if IS_LONG else {"PHI3_ENGINE": "echo"}),
        }
        with running(bentoml_command(), tmp_path, options) as service:
            async with load_on(service, key) as load:
                await asyncio.sleep(1)
                for name, store in (("PostgreSQL", database), ("Redis", redis_proxy)):
                    for fault in ("cut off", f"{SLOW_S:g} s slow"):
                        count, load.slowest_s = len(load.answered), 0.0
                        if fault == "cut off":
                            store.down()
                        else:
                            store.delay_s = SLOW_S
                        await asyncio.sleep(PHASE_S)
                        figures.note(
                            f"{name} {fault} for {PHASE_S:g} s",
                            "answered; slowest",
                            f"{len(load.answered) - count}; {load.slowest_s:.2f} s",
                        )
                        assert len(load.answered) > count, f"{name} {fault}: nobody was answered"
                        store.up()
                        await asyncio.sleep(PHASE_S / 2)
            assert [seen.status for seen in load.others] == []
            answered = {seen.request_id for seen in load.answered}

            async def is_whole() -> bool:
                return answered <= set(await ledger_of(database_url))

            await wait_for_async(is_whole, "every answer has its row", 30)
            found = await ledger_of(database_url)
            assert len(found) == len(set(found)), "nothing is counted twice"
            assert len(set(found) - answered) <= CLIENTS, "those that were cut off at the end"
            log = service.output.read_text()
            assert "from the journal to the database" in log
            assert "The cache's store does a read again" in log
            figures.note("PostgreSQL and Redis", f"of {len(answered)} answers, lost or twice", "0")
