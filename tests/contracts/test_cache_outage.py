"""The cache while its Redis stops, dies and comes back."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from phi3_bento.cache import store, tiers
from phi3_bento.cache.entry import Entry
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.store import RedisStore, StoreFailure
from phi3_bento.cache.tiers import Tiers
from tests.contracts.test_limits_outage import OwnRedis, own_redis

SCOPE = "acce"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of this large process or of its machine is no outage of Redis."""
    monkeypatch.setattr(store, "SOCKET_TIMEOUT_S", 2.0)
    monkeypatch.setattr(tiers, "READ_LIMIT_S", 2.0)


class Clock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Replica:
    """One process's cache over the Redis."""

    def __init__(self, redis: OwnRedis, clock: Clock) -> None:
        self._clock = clock
        self.alerts: list[str] = []
        self.tiers = Tiers(
            MemoryCache(2**20),
            RedisStore(redis.url),
            b"the deployment's secret",
            clock=clock,
            on_alert=self.alerts.append,
        )

    def put(self, key: str) -> None:
        self.tiers.put(key, Entry(key.encode(), self._clock(), 3600.0, 100.0), SCOPE)

    async def has_written(self) -> None:
        """Until whatever waited to be written was written, or was dropped."""
        writer = self.tiers._writer
        assert writer is not None
        await asyncio.wait([writer])

    async def has(self, key: str) -> bool:
        found = await self.tiers.get(key)
        return found is not None and found.entry.body == key.encode()


@asynccontextmanager
async def replica(redis: OwnRedis, clock: Clock) -> AsyncIterator[Replica]:
    one = Replica(redis, clock)
    try:
        yield one
    finally:
        await one.tiers.close()


async def put_by_another(redis: OwnRedis, clock: Clock, *keys: str) -> None:
    async with replica(redis, clock) as other:
        for key in keys:
            other.put(key)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_while_redis_is_away_the_cache_goes_on_in_memory_and_returns_with_it(
    tmp_path: Path, how: str
) -> None:
    clock = Clock()
    with own_redis(tmp_path) as redis:
        await put_by_another(redis, clock, "01", "02")
        async with replica(redis, clock) as one:
            assert await one.has("01")
            if how == "stopped":
                redis.signal(signal.SIGSTOP)
            else:
                redis.kill()
            assert await one.has("01")
            for _ in range(20):
                assert not await one.has("02")
            one.put("03")
            assert await one.has("03")
            assert one.alerts == ["read_failed"]
            with pytest.raises(StoreFailure, match=r"Redis|no answer"):
                await one.tiers.clear("ff")

            if how == "stopped":
                redis.signal(signal.SIGCONT)
            else:
                redis.start()
                await put_by_another(redis, clock, "02")
            assert not await one.has("02")  # it rests
            await one.has_written()  # a write that fails later begins another rest
            clock.ahead_s += 5
            assert await one.has("02")
            one.put("04")
        async with replica(redis, clock) as other:
            assert await other.has("04")


async def test_a_redis_that_only_restarts_is_no_outage(tmp_path: Path) -> None:
    clock = Clock()
    with own_redis(tmp_path) as redis:
        async with replica(redis, clock) as one:
            assert not await one.has("01")
            redis.kill()
            redis.start()
            await put_by_another(redis, clock, "01")
            assert await one.has("01")
            assert one.alerts == []
