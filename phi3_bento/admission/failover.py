"""Where limits are counted, and where they go on while Redis does not answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phi3_bento.admission.counters import Counters, MemoryCounters, RedisCounters
from phi3_bento.admission.slots import MemorySlots, RedisSlots, Slots
from phi3_bento.phi3_error import Phi3Error

logger = logging.getLogger("bentoml.phi3")

SOCKET_TIMEOUT_S = 0.5
MAX_TURNS = 32
"""Requests that ask Redis at once, each on a connection of its own; the others wait."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Store:
    """Where limits are counted."""

    counters: Counters
    slots: Slots
    is_remote: bool
    """Its work waits for a server. Work in memory is done at once: no other task runs meanwhile."""

    async def close(self) -> None:
        """Close connections and stop background work."""
        await self.slots.close()
        await self.counters.close()


def memory_store() -> Store:
    """A store of this process."""
    return Store(MemoryCounters(), MemorySlots(), is_remote=False)


def open_store(url: str, *, slot_expiry_s: float) -> Store:
    """The store of `memory://`, `redis://…` or `rediss://…`; nothing is connected yet."""
    if url == "memory://":
        return memory_store()
    client = Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        # Once more on a connection that had been closed; a server that is slow is not asked again.
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    storage = RedisStorage(
        f"async+{url}",
        implementation="redispy",
        key_prefix="phi3",
        connection_pool=client.connection_pool,  # type: ignore[arg-type]  # handed to its client
    )
    slots = RedisSlots(client, expiry_s=slot_expiry_s)
    return Store(RedisCounters(storage, client), slots, is_remote=True)


class Breaker:
    """Says whether a store may be asked: after a failure not for `retry_s`, then by one request.

    Times are seconds of any clock that the caller keeps to.
    """

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._retry_at: float | None = None

    def allows(self, now: float) -> bool:
        """The store may be asked. In an outage that is one request in `retry_s`."""
        if self._retry_at is None:
            return True
        if now < self._retry_at:
            return False
        self._retry_at = now + self._retry_s
        return True

    @property
    def is_open(self) -> bool:
        """An outage goes on."""
        return self._retry_at is not None

    def fail(self, now: float) -> bool:
        """The store did not answer; True: an outage begins."""
        begins = self._retry_at is None
        self._retry_at = now + self._retry_s
        return begins

    def succeed(self) -> bool:
        """The store answered; True: an outage ends."""
        ends = self._retry_at is not None
        self._retry_at = None
        return ends


class Failover:
    """Runs work on the shared store, or on one of this process while the shared one is broken."""

    def __init__(self, store: Store, *, clock: Callable[[], float], retry_s: float) -> None:
        self._store = store
        self._fallback = memory_store()
        self._clock = clock
        self._retry_s = retry_s
        self._breaker = Breaker(retry_s)
        self._turns = asyncio.Semaphore(MAX_TURNS)

    @property
    def is_local(self) -> bool:
        """The shared store does not answer."""
        return self._breaker.is_open

    async def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """The result of `work`, on the store that answers; raises what `work` raises."""
        async with self._turns:
            # Asked when the turn has come: those who waited learn of an outage without their own.
            if self._breaker.allows(self._clock()):
                try:
                    return await self._watched(self._store, work)
                except RedisError:
                    pass
        return await work(self._fallback)

    async def give_back(self, store: Store, work: Callable[[Store], Awaitable[None]]) -> None:
        """Run `work` on the very `store` that it belongs to; what a broken one misses expires."""
        if store is self._fallback:
            await work(store)
            return
        async with self._turns:
            if self._breaker.allows(self._clock()):
                with suppress(RedisError):
                    await self._watched(store, work)

    async def close(self) -> None:
        """Close both stores."""
        await self._store.close()
        await self._fallback.close()

    async def _watched(self, store: Store, work: Callable[[Store], Awaitable[T]]) -> T:
        try:
            result = await work(store)
        except RedisError as error:
            if self._breaker.fail(self._clock()):
                logger.warning(
                    "Redis does not answer (%s). Limits are counted in this process alone; Redis "
                    "is tried again every %g s.",
                    str(error) or type(error).__name__,
                    self._retry_s,
                )
            raise
        except Phi3Error:
            self._note_answer()
            raise
        self._note_answer()
        return result

    def _note_answer(self) -> None:
        if self._breaker.succeed():
            logger.warning("Redis answers again. Limits are counted there.")
