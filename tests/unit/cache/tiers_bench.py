"""Tiers over a store in a file, with a clock that the tests set and a gate before the store."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from phi3_bento.cache.entry import Entry
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.store import SqliteStore, Store, StoreFailure
from phi3_bento.cache.tiers import Tiers

SECRET = b"the deployment's secret"
NOW = 1_800_000_000.0
ACME, GLOBEX = "acce", "91b3"
MEGABYTE = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Gate:
    """A real store that answers when the test opens the gate, or fails when told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: str | None = None
        self.gets = 0
        self.asked = asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        self.gets += 1
        found = await self._store.get(key)
        self.asked.set()
        await self._pass()
        return found

    async def put(self, key: str, sealed: bytes, *, ttl_s: float, scope: str) -> None:
        await self._pass()
        await self._store.put(key, sealed, ttl_s=ttl_s, scope=scope)

    async def clear(self, scope: str | None) -> int:
        await self._pass()
        return await self._store.clear(scope)

    async def close(self) -> None:
        await self._store.close()

    async def _pass(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise StoreFailure(self.failure)


class Bench:
    """Services over one SQLite file, and what they reported."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self._path = path
        self._stack = stack
        self.clock = Clock()
        self.alerts: list[str] = []

    def store(self) -> SqliteStore:
        store = SqliteStore(self._path, 64 * MEGABYTE, self.clock)
        self._stack.push_async_callback(store.close)
        return store

    def gate(self) -> Gate:
        return Gate(self.store())

    def tiers(
        self, store: Store | None, *, memory_bytes: int = MEGABYTE, secret: bytes = SECRET
    ) -> Tiers:
        tiers = Tiers(
            MemoryCache(memory_bytes),
            store,
            secret,
            clock=self.clock,
            on_alert=self.alerts.append,
        )
        self._stack.push_async_callback(tiers.close)
        return tiers

    async def put_by_another(self, *keys: str, scope: str = ACME, secret: bytes = SECRET) -> None:
        """Another process puts entries, and ends."""
        other = self.tiers(self.store(), secret=secret)
        for key in keys:
            other.put(key, self.entry(key), scope)
        await other.close()

    def entry(self, text: str, ttl_s: float = 3600.0) -> Entry:
        return Entry(text.encode(), self.clock.now, ttl_s, 100.0)


async def body_of(tiers: Tiers, key: str) -> bytes | None:
    found = await tiers.get(key)
    return None if found is None else found.entry.body


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
