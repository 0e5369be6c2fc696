"""Vectors in a SQLite file with sqlite-vec."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.semantic import vector_file
from phi3_bento.cache.semantic.base import (
    Neighbour,
    Row,
    Vector,
    check_names,
    check_row,
    check_vector,
)
from phi3_bento.cache.sqlite_file import READ_LOCK_WAIT_S, WRITE_LOCK_WAIT_S

T = TypeVar("T")


class SqliteVectors:
    """A SQLite file of at most `cap_rows` rows, which processes of one machine may share.

    Reading waits for no writing: each has a thread. A transaction is one visit to its thread, so
    that no cancellation leaves half of one behind. A corrupt file is moved aside.
    """

    def __init__(self, path: Path, cap_rows: int, clock: Callable[[], float] = time.time) -> None:
        self._cap_rows = cap_rows
        self._clock = clock
        self._reader = vector_file.VectorConnection(path, READ_LOCK_WAIT_S)
        self._writer = vector_file.VectorConnection(path, WRITE_LOCK_WAIT_S)
        self._reading = ThreadPoolExecutor(1, "vectors-read")
        self._writing = ThreadPoolExecutor(1, "vectors-write")
        self._is_closed = False

    async def add(self, row: Row, ttl_s: float) -> None:
        check_row(row)
        if not ttl_s > 0:
            await self.remove(row.key)
            return
        now = self._clock()
        work = vector_file.Write(row, now + ttl_s, now, self._cap_rows)
        await self._write(partial(vector_file.write, work=work))

    async def nearest(self, partition: str, vector: Vector, limit: int) -> list[Neighbour]:
        check_names(partition)
        check_vector(vector)
        search = partial(
            vector_file.nearest, partition=partition, vector=vector, limit=limit, now=self._clock()
        )
        return await self._read(search)

    async def remove(self, key: str) -> None:
        check_names(key)
        await self._write(partial(vector_file.remove, key=key))

    async def clear(self, scope: str | None) -> int:
        total = 0
        while some := await self._write(partial(vector_file.clear_some, scope=scope)):
            total += some
        return total

    async def count(self) -> int:
        return await self._read(vector_file.count)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reading, self._reader.close)
        await loop.run_in_executor(self._writing, self._writer.close)
        self._reading.shutdown(wait=False)
        self._writing.shutdown(wait=False)

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._in(self._reading, partial(self._reader.run, work))

    async def _write(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._in(self._writing, partial(self._writer.run, work))

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise StoreFailure("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(thread, work)
