"""The cache's second tier, chosen by its URL: an own SQLite file, Redis, or none."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phi3_bento.cache import sqlite_file, sqlite_rows
from phi3_bento.cache.base import Store, StoreFailure, StoreSize
from phi3_bento.errors import StartFailure

__all__ = ["RedisStore", "SqliteStore", "Store", "StoreFailure", "StoreSize", "open_store"]

SOCKET_TIMEOUT_S = 0.25
MAX_CONNECTIONS = 16
MAX_TTL_S = 10 * 365 * 86_400.0
USED_GRAIN_S = 600.0
"""A use is noted when the last one that was noted is this old: hits do not write."""

_MAX_USES = 512
_SCAN_KEYS = 500
_GET_KEYS = 16
_SQLITE = "sqlite:///"

T = TypeVar("T")


def open_store(url: str, *, cap_bytes: int) -> Store | None:
    """The store of `sqlite:///PATH`, `redis://…` or `rediss://…`; None for `memory://`: no store.

    Opens nothing yet. `cap_bytes` is for SQLite; Redis has its own `maxmemory`. Raises
    `StartFailure` for another URL; its message never holds the URL, and with it a password.
    """
    if url == "memory://":
        return None
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return SqliteStore(Path(url.removeprefix(_SQLITE)), cap_bytes)
    if url.startswith(("redis://", "rediss://")):
        with suppress(ValueError):
            return RedisStore(url)
    raise StartFailure(
        "PHI3_CACHE_URL cannot be used: write sqlite:///PATH, redis://HOST:PORT/NUMBER or memory://."
    )


class SqliteStore:
    """A SQLite file of at most `cap_bytes`, which processes of one machine may share.

    Who is over, and then who was used least lately, goes when something is put. Reading waits for
    no writing: each has a thread. A transaction is one visit to its thread, so that no cancellation
    leaves half of one behind. A corrupt file is moved aside.
    """

    def __init__(self, path: Path, cap_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._size = sqlite_rows.Size(cap_bytes)
        self._clock = clock
        self._reader = sqlite_file.Connection(path, self._size, sqlite_file.READ_LOCK_WAIT_S)
        self._writer = sqlite_file.Connection(path, self._size, sqlite_file.WRITE_LOCK_WAIT_S)
        self._reading = ThreadPoolExecutor(1, "cache-read")
        self._writing = ThreadPoolExecutor(1, "cache-write")
        self._used_at: dict[str, float] = {}
        self._is_closed = False

    async def get(self, key: str) -> bytes | None:
        now = self._clock()
        work = partial(sqlite_rows.read, key=key, now=now)
        found = await self._in(self._reading, partial(self._reader.run, work))
        if found is None:
            return None
        sealed, used_at = found
        if now - used_at > USED_GRAIN_S and len(self._used_at) < _MAX_USES:
            self._used_at[key] = now  # written with what is put next
        return sealed

    async def put(self, key: str, sealed: bytes, *, ttl_s: float, scope: str) -> None:
        now = self._clock()
        work: Callable[[SqliteConnection], None] = partial(sqlite_rows.remove, key=key)
        if ttl_s > 0:
            row = (key, scope, now + min(ttl_s, MAX_TTL_S), now, sealed)
            uses, self._used_at = self._used_at, {}
            work = partial(sqlite_rows.write, row=row, used_at=uses, now=now, size=self._size)
        await self._in(self._writing, partial(self._writer.run, work))

    async def clear(self, scope: str | None) -> int:
        work = partial(sqlite_rows.clear_some, scope=scope)
        total = 0
        while some := await self._in(self._writing, partial(self._writer.run, work)):
            total += some
        return total

    async def entries(self, scope: str | None) -> AsyncGenerator[tuple[str, bytes], None]:
        after: int | None = 0
        while after is not None:
            work = partial(sqlite_rows.read_some, scope=scope, after=after, now=self._clock())
            some, after = await self._in(self._reading, partial(self._reader.run, work))
            for each in some:
                yield each

    async def size(self) -> StoreSize:
        work = partial(sqlite_rows.measure, now=self._clock())
        return StoreSize(*await self._in(self._reading, partial(self._reader.run, work)))

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reading, self._reader.close)
        await loop.run_in_executor(self._writing, self._writer.close)
        self._reading.shutdown(wait=False)
        self._writing.shutdown(wait=False)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise StoreFailure("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(thread, work)


class RedisStore:
    """A Redis for all replicas, which forgets by itself what is over.

    A value is the scope, a line feed and what was put: a key of its own for the scope could be
    evicted before what it points to, and that would then survive a `clear`.
    """

    def __init__(self, url: str, prefix: str = "phi3:cache:") -> None:
        self._prefix = prefix
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=SOCKET_TIMEOUT_S,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            # Once more on a connection that had been closed; a slow server is not asked again.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
        )
        # Any: its types allow for answers that are decoded to text.
        self._redis: Any = Redis.from_pool(pool)
        self._is_closed = False

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._answer(lambda: self._redis.get(self._prefix + key))
        return None if value is None else value.partition(b"\n")[2]

    async def put(self, key: str, sealed: bytes, *, ttl_s: float, scope: str) -> None:
        name = self._prefix + key
        if ttl_s <= 0:
            await self._answer(lambda: self._redis.delete(name))
            return
        value = scope.encode() + b"\n" + sealed
        ttl_ms = max(1, int(min(ttl_s, MAX_TTL_S) * 1000))
        await self._answer(lambda: self._redis.set(name, value, px=ttl_ms))

    async def clear(self, scope: str | None) -> int:
        async def unlink_all() -> int:
            total = 0
            async with aclosing(self._names(scope)) as batches:
                async for names in batches:
                    total += int(await self._redis.unlink(*names))
            return total

        return await self._answer(unlink_all)

    async def entries(self, scope: str | None) -> AsyncGenerator[tuple[str, bytes], None]:
        async with aclosing(self._names(scope)) as batches:
            while names := await self._answer(lambda: anext(batches, [])):
                for start in range(0, len(names), _GET_KEYS):
                    some = names[start : start + _GET_KEYS]
                    values = await self._answer(partial(self._redis.mget, some))
                    for name, value in zip(some, values, strict=True):
                        if value is not None:  # it was forgotten meanwhile
                            key = name.decode().removeprefix(self._prefix)
                            yield key, value.partition(b"\n")[2]

    async def size(self) -> StoreSize:
        async def measure() -> StoreSize:
            lengths: dict[bytes, int] = {}
            async with aclosing(self._names(None)) as batches:
                async for names in batches:
                    async with self._redis.pipeline(transaction=False) as pipeline:
                        for name in names:
                            pipeline.strlen(name)
                        lengths |= dict(zip(names, await pipeline.execute(), strict=True))
            return StoreSize(len(lengths), sum(lengths.values()))

        return await self._answer(measure)

    async def close(self) -> None:
        self._is_closed = True
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _names(self, scope: str | None) -> AsyncGenerator[list[bytes], None]:
        """Redis's names of the entries of a scope, or all (None), in batches."""
        cursor = -1
        while cursor != 0:
            cursor, names = await self._redis.scan(
                max(cursor, 0), match=f"{self._prefix}*", count=_SCAN_KEYS
            )
            if scope is not None:
                names = await self._of_scope(names, scope.encode() + b"\n")
            if names:
                yield names

    async def _of_scope(self, names: list[bytes], beginning: bytes) -> list[bytes]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.getrange(name, 0, len(beginning) - 1)
            found = await pipeline.execute()
        return [name for name, value in zip(names, found, strict=True) if value == beginning]

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._is_closed:
            raise StoreFailure("The store is closed.")
        try:
            return await ask()
        except (RedisError, OSError) as error:
            raise StoreFailure(f"Redis: {str(error) or type(error).__name__}") from error
