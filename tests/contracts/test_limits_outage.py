"""Limits on Redis when replicas die, and when Redis itself stops, dies or restarts."""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.contracts.limiters import (
    Clock,
    Make,
    caller,
    eventually,
    limiters,
    remaining,
    try_to_acquire,
)
from tests.support import free_port, wait_for


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with limiters() as make:
        yield make


async def test_the_slots_of_a_replica_that_died_come_free(redis_url: str, make: Make) -> None:
    dying, living = (make(redis_url, slot_expiry_s=1.5) for _ in range(2))
    who = caller(concurrent_requests=2)
    await dying.acquire(who, 0)
    await living.acquire(who, 0)
    await dying.close()  # Ends its renewals, and gives nothing back.
    assert await try_to_acquire(living, who) is None

    async def is_free() -> bool:
        return await try_to_acquire(living, who) is not None

    await eventually(is_free)


async def test_a_slot_is_held_for_as_long_as_its_request_runs(redis_url: str, make: Make) -> None:
    holding, other = (make(redis_url, slot_expiry_s=1.5) for _ in range(2))
    who = caller(concurrent_requests=1)
    lease = await holding.acquire(who, 0)
    for _ in range(8):
        await asyncio.sleep(0.3)
        assert await try_to_acquire(other, who) is None
    await lease.settle(0)
    assert await try_to_acquire(other, who)


class OwnRedis:
    """A Redis of one test, which the test stops, kills and starts again."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self._directory = directory
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        address = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]
        with (self._directory / "redis.log").open("a") as log:
            self._process = subprocess.Popen(
                ["redis-server", *address], cwd=self._directory, stdout=log, stderr=log
            )
        wait_for(self._answers, "Redis is ready")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with Redis.from_url(self.url) as redis:
            try:
                return bool(redis.ping())
            except RedisError:
                return False


@contextmanager
def own_redis(directory: Path) -> Iterator[OwnRedis]:
    redis = OwnRedis(directory)
    try:
        yield redis
    finally:
        redis.kill()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Beginnings of what was logged."""
    return [
        " ".join(record.getMessage().split()[:3])
        for record in caplog.records
        if record.name == "bentoml.phi3"
    ]


DOWN, BACK = "Redis does not", "Redis answers again."


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_while_redis_is_away_limits_go_on_here_and_return_with_it(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO, "bentoml.phi3")
    clock = Clock()
    who = caller(requests_per_minute=60, tokens_per_minute=1000, concurrent_requests=60)
    other = caller(requests_per_minute=5, tokens_per_minute=1000, concurrent_requests=5)
    with own_redis(tmp_path) as redis:
        limiter = make(redis.url, clock=clock)
        before = [await limiter.acquire(who, 10) for _ in range(3)]

        if how == "stopped":
            redis.signal(signal.SIGSTOP)
        else:
            redis.kill()
        tries = await asyncio.gather(*(try_to_acquire(limiter, who, 10) for _ in range(100)))
        meanwhile = [lease for lease in tries if lease is not None]
        assert len(meanwhile) == 60
        assert said(caplog) == [DOWN]
        assert limiter.is_local
        in_outage = await limiter.acquire(other, 10)
        await before[0].settle(5)
        await before[1].release()
        await meanwhile[0].release()
        assert await try_to_acquire(limiter, who, 10)

        if how == "stopped":
            redis.signal(signal.SIGCONT)
        else:
            redis.start()
        assert await remaining(limiter, other) == (4, 990)
        clock.ahead_s += 5
        assert await remaining(limiter, other) == (5, 1000)
        assert said(caplog) == [DOWN, BACK]
        assert not limiter.is_local

        # What was taken in memory is given back there; what Redis has forgotten stays forgotten.
        await limiter.acquire(other, 20)
        await in_outage.release()
        assert await remaining(limiter, other) == (4, 980)
        await before[2].release()
        for lease in meanwhile:
            await lease.settle(500)
        assert await remaining(limiter, other) == (4, 980)
        if how == "killed":
            assert await remaining(limiter, who) == (60, 1000)
        assert said(caplog) == [DOWN, BACK]


async def test_a_slot_that_was_given_back_in_an_outage_comes_free_after_it(
    tmp_path: Path, make: Make
) -> None:
    who, asking = caller(concurrent_requests=1), caller(requests_per_minute=9)
    with own_redis(tmp_path) as redis:
        limiter, other = (make(redis.url, slot_expiry_s=1.5) for _ in range(2))
        lease = await limiter.acquire(who, 0)
        redis.signal(signal.SIGSTOP)
        await limiter.acquire(asking, 0)
        await lease.settle(0)
        redis.signal(signal.SIGCONT)

        async def is_free() -> bool:
            return await try_to_acquire(other, who) is not None

        await eventually(is_free)


async def test_an_outage_that_lasts_is_tried_again_in_each_pause_and_said_once(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    who = caller(requests_per_minute=100)
    with own_redis(tmp_path) as redis:
        limiter = make(redis.url, clock=clock)
        redis.kill()
        for _ in range(4):
            await asyncio.gather(*(limiter.acquire(who, 0) for _ in range(5)))
            clock.ahead_s += 5
        assert await remaining(limiter, who) == (80, None)
        assert said(caplog) == [DOWN]


async def test_a_redis_that_only_restarts_is_no_outage(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    who = caller(requests_per_minute=100, concurrent_requests=100)
    with own_redis(tmp_path) as redis:
        limiter = make(redis.url)
        await asyncio.gather(*(limiter.acquire(who, 0) for _ in range(20)))
        redis.kill()
        redis.start()
        await asyncio.gather(*(limiter.acquire(who, 0) for _ in range(20)))
        assert await remaining(limiter, who) == (80, None)
    assert said(caplog) == []
