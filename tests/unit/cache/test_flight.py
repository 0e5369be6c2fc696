"""One generation serves all who ask for it at the same time, and stops when nobody listens."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from phi3_bento.cache.flight import Flight, Flights
from phi3_bento.core import TokenCount
from phi3_bento.errors import EngineFailure


class Source:
    """A generation whose pieces come when the test says so."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.started = 0
        self.stopped = 0
        self._error = error

    async def generate(self) -> AsyncGenerator[bytes, None]:
        self.started += 1
        try:
            while (piece := await self.queue.get()) is not None:
                yield piece
            if self._error is not None:
                raise self._error
        finally:
            self.stopped += 1

    def give(self, *pieces: bytes | None) -> None:
        for piece in pieces:
            self.queue.put_nowait(piece)


class Bench:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.flights = Flights()
        self.kept: list[list[bytes]] = []

    def begin(self) -> Flight:
        return self.flights.begin("key", TokenCount(), self.source.generate, self.kept.append)


async def read(flight: Flight) -> list[bytes]:
    return [piece async for piece in flight.listen()]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_joins_late_gets_everything_from_the_first_piece() -> None:
    bench = Bench(Source())
    flight = bench.begin()
    first = asyncio.create_task(read(flight))
    bench.source.give(b"1", b"2")
    await settle()
    found = bench.flights.find("key")
    assert found is flight
    late = asyncio.create_task(read(found))
    await settle()
    bench.source.give(b"3", None)
    assert await first == await late == [b"1", b"2", b"3"]
    assert (bench.source.started, bench.kept) == (1, [[b"1", b"2", b"3"]])
    assert bench.flights.find("key") is None


async def test_pieces_come_as_they_are_made() -> None:
    bench = Bench(Source())
    listener = bench.begin().listen()
    bench.source.give(b"1")
    assert await anext(listener) == b"1"
    bench.source.give(b"2", None)
    assert await anext(listener) == b"2"
    with pytest.raises(StopAsyncIteration):
        await anext(listener)


async def test_when_who_began_it_leaves_it_goes_on_for_the_others() -> None:
    bench = Bench(Source())
    flight = bench.begin()
    first, other = flight.listen(), asyncio.create_task(read(flight))
    bench.source.give(b"1")
    await anext(first)
    await settle()
    await first.aclose()
    assert bench.source.stopped == 0
    bench.source.give(b"2", None)
    assert await other == [b"1", b"2"]
    assert bench.kept == [[b"1", b"2"]]


async def test_when_the_last_leaves_it_is_stopped_and_nobody_may_join() -> None:
    bench = Bench(Source())
    flight = bench.begin()
    listeners = [flight.listen(), flight.listen()]
    bench.source.give(b"1")
    for listener in listeners:
        await anext(listener)
    await listeners[0].aclose()
    assert bench.source.stopped == 0
    await listeners[1].aclose()
    assert (bench.source.stopped, bench.kept) == (1, [])
    assert bench.flights.find("key") is None


async def test_a_cancelled_listener_leaves_too() -> None:
    bench = Bench(Source())
    task = asyncio.create_task(read(bench.begin()))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.source.stopped == 1


async def test_a_failure_is_everybody_s_and_is_not_kept() -> None:
    bench = Bench(Source(error=EngineFailure("It broke.")))
    flight = bench.begin()
    tasks = [asyncio.create_task(read(flight)) for _ in range(3)]
    bench.source.give(b"1", None)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [EngineFailure] * 3
    assert bench.kept == []
    assert bench.flights.find("key") is None


async def test_a_second_generation_of_a_key_is_not_forgotten_with_the_first() -> None:
    """`no-cache` begins anew while an older one runs."""
    bench = Bench(Source())
    old, new = bench.begin(), bench.begin()
    tasks = [asyncio.create_task(read(flight)) for flight in (old, new)]
    await settle()
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert bench.flights.find("key") is new
    bench.source.give(None)
    await tasks[1]
