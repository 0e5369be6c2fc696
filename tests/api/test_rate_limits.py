"""Of 10,000 requests over 64 connections exactly as many are let in as the limit allows."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.api.test_access import run_keys
from tests.servers import redis_server
from tests.support import Service, bentoml_command, running

REQUESTS = 10_000
CONNECTIONS = 64
LIMIT = 700
WINDOW_S = 60
BODY = {"messages": [{"role": "user", "content": "one"}], "max_tokens": 1}


async def send_all(urls: list[str], key: str) -> tuple[Counter[int], float]:
    """All requests, as fast as the connections take them, in turns to the replicas; and seconds."""
    remaining = iter(range(REQUESTS))
    statuses: Counter[int] = Counter()
    started = time.monotonic()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        headers={"authorization": f"Bearer {key}"},
    ) as client:

        async def connection() -> None:
            for number in remaining:
                url = f"{urls[number % len(urls)]}/v1/chat/completions"
                async with client.post(url, json=BODY) as response:
                    statuses[response.status] += 1
                    if response.status == 429:
                        assert 0 < int(response.headers["retry-after"]) <= 60

        await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return statuses, time.monotonic() - started


@pytest.fixture
def replicas(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Service]]:
    """One replica that counts in memory, or two that count in one Redis."""
    with ExitStack() as stack:
        env = {"PHI3_ENGINE": "echo", "PHI3_DATABASE_URL": f"sqlite:///{tmp_path}/phi3.db"}
        if request.param == 2:
            env["PHI3_LIMITS_URL"] = stack.enter_context(redis_server(tmp_path))
        env["PHI3_SECRET"] = "a secret that all the replicas know"
        started = []
        for number in range(request.param):
            directory = tmp_path / str(number)
            directory.mkdir()
            started.append(stack.enter_context(running(bentoml_command(), directory, env)))
        yield started


@pytest.mark.parametrize("replicas", [1, 2], indirect=True)
def test_exactly_the_limit_is_let_in(replicas: list[Service], tmp_path: Path) -> None:
    env = {
        "PHI3_DATABASE_URL": f"sqlite:///{tmp_path}/phi3.db",
        "PHI3_SECRET": "a secret that all the replicas know",
    }
    create = ("create", "--tenant", "acme", "--requests-per-minute", str(LIMIT))
    for _ in range(3):
        key = run_keys(replicas[0], *create, env=env)
        statuses, seconds = asyncio.run(send_all([replica.url for replica in replicas], key))
        if seconds < WINDOW_S:
            break
    # A machine that is too slow for them within one window says so, instead of passing.
    assert seconds < WINDOW_S
    assert statuses == {200: LIMIT, 429: REQUESTS - LIMIT}
