"""The cache's two tiers as one: memory first, then the store, which may fail and harms nobody."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from phi3_bento.cache.base import Store, StoreFailure, StoreSize
from phi3_bento.cache.entry import Entry, Found, TamperedEntry, Tier, unwrap, wrap
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.store_guard import StoreGuard

logger = logging.getLogger("bentoml.phi3")

READ_LIMIT_S = 0.25
"""A store that takes longer has failed: a request waits for it."""

WRITE_LIMIT_S = 2.0
CLEAR_LIMIT_S = 30.0
SIZE_LIMIT_S = 5.0
CLOSE_LIMIT_S = 5.0
MAX_WAITING_WRITES = 256
MAX_WAITING_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _Write:
    """What the store is to do: keep the entry, or None: remove what it has."""

    entry: Entry | None
    scope: str

    @property
    def size_bytes(self) -> int:
        return 0 if self.entry is None else self.entry.size_bytes


class Tiers:
    """Entries in memory and, where there is one, in a store; belongs to one event loop.

    `clock` gives Unix time. `on_alert` hears `tampered` (the store gave what we did not seal; it is
    removed), what `reject` was told, `read_failed` and `write_failed` (an outage of the store
    begins: it rests for `retry_s`, reading and writing each for itself) and `write_dropped`.
    """

    def __init__(
        self,
        memory: MemoryCache,
        store: Store | None,
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
        retry_s: float = 5.0,
        on_alert: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.memory = memory
        self._store = store
        self._secret = secret
        self._clock = clock
        self._on_alert = on_alert
        self._guard = StoreGuard(clock, retry_s, on_outage=self._alert)
        self._waiting: dict[str, _Write] = {}
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._store_turn = asyncio.Lock()
        self._clears = 0
        self._is_closed = False
        self.alerts: Counter[str] = Counter()
        """How often `on_alert` heard what."""

    @property
    def dropped_writes(self) -> int:
        """Entries that did not reach the store: too many waited, or it failed."""
        return self.alerts["write_dropped"]

    async def get(self, key: str, *, is_use: bool = True) -> Found | None:
        """The entry of `key`, if one is fresh; a broken store has none. Raises nothing.

        With `is_use` False nothing is counted or moved to memory: somebody only looks.
        """
        found = self._find_here(key, self._clock(), is_use)
        if found is not None or key in self._waiting or self._store is None or self._is_closed:
            return found
        try:
            return await self._find_stored(key, self._store, is_use)
        except StoreFailure:
            return None

    def reject(self, key: str, reason: str) -> None:
        """What is kept under `key` is not its answer: forget it, here and in the store, and say so.

        `reason`: a word for `on_alert`.
        """
        self.forget(key)
        self._alert(reason)

    def forget(self, key: str) -> None:
        """Keep what is under `key` no longer, here and in the store."""
        self.memory.remove(key)
        if self._store is not None and not self._is_closed:
            self._write_soon(key, _Write(None, ""), self._store)

    async def measure_store(self) -> StoreSize | None:
        """How much the store keeps; None: there is no store. Raises `StoreFailure`."""
        store = self._store
        return None if store is None else await self._guard.wait(store.size(), SIZE_LIMIT_S)

    def put(self, key: str, entry: Entry, scope: str) -> None:
        """Keep `entry`: in memory at once, in the store soon. Raises nothing."""
        now = self._clock()
        self.memory.put(key, entry, scope, now)
        if self._store is None or self._is_closed or not entry.is_fresh(now):
            return
        self._write_soon(key, _Write(entry, scope), self._store)

    async def clear(self, scope: str | None) -> int:
        """Forget the entries of a scope, or all (None), here and in the store.

        Returns how many there were: in memory or in the store, whichever had more. Other processes
        keep what they have in memory. Raises `StoreFailure` where the store could not be cleared;
        memory is.
        """
        self._clears += 1
        for key in [k for k, write in self._waiting.items() if scope in (None, write.scope)]:
            self._forget_waiting(key)
        forgotten = self.memory.clear(scope)
        if self._store is None or self._is_closed:
            return forgotten
        async with self._store_turn:  # after the write that is under way
            stored = await self._guard.wait(self._store.clear(scope), CLEAR_LIMIT_S)
        return max(forgotten, stored)

    async def close(self) -> None:
        """Write what waits, for some seconds at most, and close the store. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_LIMIT_S)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if self._store is not None:
            await self._store.close()

    def _find_here(self, key: str, now: float, is_use: bool) -> Found | None:
        """The entry in memory, or on its way to the store."""
        entry = self.memory.get(key, now) if is_use else self.memory.peek(key)
        if entry is None and key in self._waiting:
            entry = self._waiting[key].entry
        return Found(entry, Tier.MEMORY) if entry is not None and entry.is_fresh(now) else None

    async def _find_stored(self, key: str, store: Store, is_use: bool) -> Found | None:
        clears = self._clears
        wrapped = await self._guard.ask("read", READ_LIMIT_S, lambda: store.get(key))
        now = self._clock()
        if key in self.memory or key in self._waiting:  # put meanwhile
            return self._find_here(key, now, is_use)
        if wrapped is None or clears != self._clears:
            return None
        try:
            entry, scope = unwrap(wrapped, key, self._secret)
        except TamperedEntry as error:
            logger.error("The cache's store gave what is not ours (%s): it is removed.", error)
            self.reject(key, "tampered")
            return None
        if not entry.is_fresh(now):
            return None
        if is_use:
            self.memory.put(key, entry, scope, now)
        return Found(entry, Tier.STORE)

    def _write_soon(self, key: str, write: _Write, store: Store) -> None:
        self._forget_waiting(key)
        waiting_bytes = self._waiting_bytes + write.size_bytes
        if len(self._waiting) >= MAX_WAITING_WRITES or waiting_bytes > MAX_WAITING_BYTES:
            self._drop()
            return
        self._waiting[key] = write
        self._waiting_bytes = waiting_bytes
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(store))

    async def _write_all(self, store: Store) -> None:
        """Write what waits, one after the other, until nothing does."""
        while self._waiting:
            async with self._store_turn:
                if not self._waiting:  # cleared
                    return
                key, write = next(iter(self._waiting.items()))
                try:
                    await self._write(key, write, store)
                except StoreFailure:
                    self._drop()
                finally:
                    if self._waiting.get(key) is write:
                        self._forget_waiting(key)

    async def _write(self, key: str, write: _Write, store: Store) -> None:
        sealed, ttl_s = b"", 0.0
        if write.entry is not None:
            ttl_s = write.entry.ttl_s - write.entry.age_s(self._clock())
            sealed = wrap(write.entry, write.scope, key, self._secret)
        await self._guard.ask(
            "write",
            WRITE_LIMIT_S,
            lambda: store.put(key, sealed, ttl_s=ttl_s, scope=write.scope),
        )

    def _forget_waiting(self, key: str) -> None:
        write = self._waiting.pop(key, None)
        if write is not None:
            self._waiting_bytes -= write.size_bytes

    def _drop(self) -> None:
        self._alert("write_dropped")

    def _alert(self, what: str) -> None:
        self.alerts[what] += 1
        self._on_alert(what)
