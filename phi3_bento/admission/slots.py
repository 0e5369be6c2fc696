"""How many requests of a key run at once: in this process, or in Redis for several replicas."""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger("bentoml.phi3")

# Redis's own clock, because those of the replicas differ.
_NOW = "local time = redis.call('TIME') local now = time[1] + time[2] / 1000000 "

_TAKE = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] * 1000))
return 1
"""
)

# XX: a slot that was freed meanwhile stays free.
_RENEW = (
    _NOW
    + """
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[1] * 1000))
"""
)


class Slots(Protocol):
    """Places for requests that run at the same time; a store that does not answer raises."""

    async def take(self, key: str, slot: str, limit: int) -> bool:
        """Hold `slot`, a name that nobody else uses, of `key`; False: `limit` of them are held."""

    async def free(self, key: str, slot: str) -> None:
        """Give `slot` back. Nothing happens where it is not held: safe to call twice."""

    def drop(self, key: str, slot: str) -> None:
        """Hold `slot` no longer without asking a server, where it falls back when it expires."""

    async def close(self) -> None:
        """Stop background work. Slots that are still held fall back when they expire."""


class MemorySlots:
    """Slots of this process."""

    def __init__(self) -> None:
        self._held: defaultdict[str, set[str]] = defaultdict(set)

    async def take(self, key: str, slot: str, limit: int) -> bool:
        if len(self._held[key]) >= limit:
            return False
        self._held[key].add(slot)
        return True

    async def free(self, key: str, slot: str) -> None:
        self.drop(key, slot)

    def drop(self, key: str, slot: str) -> None:
        self._held[key].discard(slot)
        if not self._held[key]:
            del self._held[key]

    async def close(self) -> None:
        self._held.clear()


class RedisSlots:
    """Slots of all replicas: a sorted set for each key, by the time at which a slot expires.

    A slot is renewed three times in `expiry_s` while it is held; those of a replica that died fall
    back by themselves. Raises `redis.exceptions.RedisError`.
    """

    def __init__(self, client: Redis, *, expiry_s: float = 60.0) -> None:
        self._client = client
        self._expiry_s = expiry_s
        self._take = client.register_script(_TAKE)
        self._renew = client.register_script(_RENEW)
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._renewal: asyncio.Task[None] | None = None

    async def take(self, key: str, slot: str, limit: int) -> bool:
        if not await self._take(keys=[_name(key)], args=[limit, self._expiry_s, slot]):
            return False
        self._held[key].add(slot)
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_while_held())
        return True

    async def free(self, key: str, slot: str) -> None:
        self.drop(key, slot)
        await self._client.zrem(_name(key), slot)

    def drop(self, key: str, slot: str) -> None:
        self._held[key].discard(slot)
        if not self._held[key]:
            del self._held[key]

    async def close(self) -> None:
        self._held.clear()
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal

    async def _renew_while_held(self) -> None:
        while self._held:
            await asyncio.sleep(self._expiry_s / 3)
            for key, slots in list(self._held.items()):
                try:
                    await self._renew(keys=[_name(key)], args=[self._expiry_s, *slots])
                except RedisError as error:
                    logger.debug("Slots were not renewed, tried again soon: %s", error)


def _name(key: str) -> str:
    return f"phi3:{key}"
