"""A service that is killed under load has a row for every request that it answered, and no two."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import psutil

from phi3_bento.usage.journal import Journal
from tests.support import Service, bentoml_command, running

CONNECTIONS = 16
KILL_AFTER = 400
ROUNDS = 3


async def load(service: Service, prefix: str) -> set[str]:
    """Ask until the service is gone; the ids of the requests that were answered in full."""
    answered: set[str] = set()
    sent = 0

    async def connection(client: httpx.AsyncClient) -> None:
        nonlocal sent
        while True:
            sent += 1
            name = f"{prefix}-{sent}"
            body = {"messages": [{"role": "user", "content": "one two"}], "stream": sent % 2 == 0}
            try:
                response = await client.post(
                    "/v1/chat/completions", json=body, headers={"x-request-id": name}
                )
            except httpx.TransportError:
                return
            assert response.status_code == 200
            assert "stream" not in response.text or response.text.endswith("data: [DONE]\n\n")
            answered.add(name)
            if len(answered) == KILL_AFTER:
                kill(service)

    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        await asyncio.gather(*(connection(client) for _ in range(CONNECTIONS)))
    return answered


def kill(service: Service) -> None:
    """SIGKILL to all of it at once, as a machine that fails."""
    root = psutil.Process(service.process.pid)
    for process in (*root.children(recursive=True), root):
        process.send_signal(signal.SIGKILL)


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT request_id FROM usage WHERE outcome = 'ok'")
        return [name for (name,) in found]


async def test_every_answered_request_has_its_one_row(tmp_path: Path) -> None:
    answered: set[str] = set()
    for number in range(ROUNDS):
        with running(bentoml_command(), tmp_path, {"PHI3_ENGINE": "echo"}) as service:
            answered |= await load(service, f"round{number}")
            await asyncio.to_thread(service.process.wait)
    # The next start brings in what the last one left in the journal.
    with running(bentoml_command(), tmp_path, {"PHI3_ENGINE": "echo"}):
        assert Journal(tmp_path / "usage-journal").take() is None
    found = rows(tmp_path / "phi3.db")
    assert len(answered) >= ROUNDS * KILL_AFTER
    assert answered <= set(found)
    assert len(found) == len(set(found))


async def test_rows_of_an_outage_survive_a_kill(tmp_path: Path) -> None:
    """The database is locked by somebody for good; rows go to the journal, then comes the kill."""
    with running(bentoml_command(), tmp_path, {"PHI3_ENGINE": "echo"}) as service:
        with closing(sqlite3.connect(tmp_path / "phi3.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            answered = await load(service, "outage")
        await asyncio.to_thread(service.process.wait)
    assert rows(tmp_path / "phi3.db") == []
    with running(bentoml_command(), tmp_path, {"PHI3_ENGINE": "echo"}) as service:
        deadline = asyncio.get_running_loop().time() + 20
        while not answered <= set(rows(tmp_path / "phi3.db")):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)
    found = rows(tmp_path / "phi3.db")
    assert len(found) == len(set(found))
