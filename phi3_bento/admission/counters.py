"""What a key has used in a window of time: counted in this process, or in Redis for all replicas.

A window begins with the first use and ends with its counter. A counter that is back at 0 begins a
new window with the next use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from limits.aio.storage import RedisStorage
from redis.asyncio import Redis

from phi3_bento.admission.steady import steady_time

# `limits` has no decrement for Redis. A key that lives on after the window's end, or has become
# smaller than what is given back, belongs to another window.
_GIVE_BACK = """
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
local amount = tonumber(ARGV[1])
if count >= amount and redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[2]) then
    redis.call('DECRBY', KEYS[1], amount)
end
"""

_CLOCK_TOLERANCE_S = 1.0
"""Two machines' seconds are not quite the same."""

_SWEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Count:
    """What is used in a window, and when the window ends by `steady_time`."""

    used: int
    ends_at: float


class Counters(Protocol):
    """Counters with a window; a store that does not answer raises."""

    async def add(self, key: str, amount: int, window_s: int) -> Count:
        """Count `amount` in the present window, or in a new one, and return what is used then."""

    async def give_back(self, key: str, amount: int, left_s: float) -> None:
        """Take `amount` off the window that ends in `left_s` seconds, unless it has ended."""

    async def read(self, key: str) -> Count:
        """What is used now; a window that has not begun ends now."""

    async def close(self) -> None:
        """Close connections."""


class MemoryCounters:
    """Counters of this process; those whose window has ended are forgotten."""

    def __init__(self, clock: Callable[[], float] = steady_time) -> None:
        self._clock = clock
        self._counts: dict[str, Count] = {}
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    async def add(self, key: str, amount: int, window_s: int) -> Count:
        now = self._clock()
        if now >= self._sweep_at:
            self._counts = {k: count for k, count in self._counts.items() if count.ends_at > now}
            self._sweep_at = now + _SWEEP_S
        before = self._present(key, now)
        ends_at = before.ends_at if before.used else now + window_s
        count = self._counts[key] = Count(before.used + amount, ends_at)
        return count

    async def give_back(self, key: str, amount: int, left_s: float) -> None:
        if left_s > 0:
            count = self._present(key, self._clock())
            self._counts[key] = Count(max(count.used - amount, 0), count.ends_at)

    async def read(self, key: str) -> Count:
        return self._present(key, self._clock())

    async def close(self) -> None:
        self._counts.clear()

    def _present(self, key: str, now: float) -> Count:
        count = self._counts.get(key)
        return count if count is not None and count.ends_at > now else Count(0, now)


class RedisCounters:
    """Counters of all replicas. Raises `redis.exceptions.RedisError`."""

    def __init__(self, storage: RedisStorage, client: Redis) -> None:
        self._storage = storage
        self._client = client
        self._give_back = client.register_script(_GIVE_BACK)

    async def add(self, key: str, amount: int, window_s: int) -> Count:
        used = await self._storage.incr(key, window_s, amount)
        return Count(used, await self._ends_at(key))

    async def give_back(self, key: str, amount: int, left_s: float) -> None:
        if left_s > 0:
            left_ms = int((left_s + _CLOCK_TOLERANCE_S) * 1000)
            await self._give_back(keys=[self._name(key)], args=[amount, left_ms])

    async def read(self, key: str) -> Count:
        return Count(await self._storage.get(key), await self._ends_at(key))

    async def close(self) -> None:
        await self._client.aclose()

    async def _ends_at(self, key: str) -> float:
        # To the millisecond; `limits` rounds to whole seconds, up to half a second too early.
        left_ms: int = await self._client.pttl(self._name(key))
        return steady_time() + max(left_ms, 0) / 1000

    def _name(self, key: str) -> str:
        return self._storage.bridge.prefixed_key(key)
