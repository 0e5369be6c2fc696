"""Two tiers as one: memory first, then the store, which may be slow, broken or tampered with."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from phi3_bento.cache import tiers as tiers_module
from phi3_bento.cache.breaker import Breaker
from phi3_bento.cache.entry import OVERHEAD_BYTES, Entry, Found, Tier
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.store import SqliteStore, Store, StoreFailure
from phi3_bento.cache.tiers import MAX_WAITING_BYTES, MAX_WAITING_WRITES, Tiers

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


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(tmp_path / "cache.db", stack)


async def body_of(tiers: Tiers, key: str) -> bytes | None:
    found = await tiers.get(key)
    return None if found is None else found.entry.body


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_entry_is_there_at_once_and_for_another_process_soon(bench: Bench) -> None:
    tiers = bench.tiers(bench.store())
    entry = bench.entry("a")
    tiers.put("0a", entry, ACME)
    assert await tiers.get("0a") == Found(entry, Tier.MEMORY)
    await tiers.close()
    other = bench.tiers(bench.store())
    assert await other.get("0a") == Found(entry, Tier.STORE)
    assert await other.get("0a") == Found(entry, Tier.MEMORY)
    assert await other.get("0b") is None


async def test_what_the_store_gave_is_then_in_memory(bench: Bench) -> None:
    await bench.put_by_another("0a")
    store = bench.gate()
    tiers = bench.tiers(store)
    assert [await body_of(tiers, "0a") for _ in range(3)] == [b"0a"] * 3
    assert store.gets == 1


async def test_without_a_store_memory_is_all(bench: Bench) -> None:
    tiers = bench.tiers(None)
    tiers.put("0a", bench.entry("a"), ACME)
    assert await body_of(tiers, "0a") == b"a"
    assert await tiers.get("0b") is None
    assert await tiers.clear(ACME) == 1
    await tiers.close()


async def test_an_entry_is_given_for_its_own_time_wherever_it_was(bench: Bench) -> None:
    first = bench.tiers(bench.store())
    first.put("0a", bench.entry("a", ttl_s=60), ACME)
    await first.close()
    bench.clock.now += 40
    second = bench.tiers(bench.store())
    assert await body_of(second, "0a") == b"a"
    bench.clock.now += 20
    assert await body_of(second, "0a") is None
    assert await body_of(bench.tiers(bench.store()), "0a") is None


async def test_what_memory_does_not_take_comes_from_the_store(bench: Bench) -> None:
    store = bench.gate()
    store.gate.clear()
    tiers = bench.tiers(store, memory_bytes=0)
    tiers.put("0a", bench.entry("a"), ACME)
    assert await body_of(tiers, "0a") == b"a"  # on its way to the store
    assert store.gets == 0
    store.gate.set()
    await tiers.close()
    assert await body_of(bench.tiers(bench.store()), "0a") == b"a"


async def test_what_was_tampered_with_is_a_miss_reported_and_removed(bench: Bench) -> None:
    await bench.put_by_another("0a", "0b", "0c")
    store = bench.store()
    sealed = await store.get("0a")
    assert sealed is not None
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    other_scope = GLOBEX.encode() + sealed[len(GLOBEX) :]
    for key, content in (("0a", flipped), ("0b", other_scope), ("0c", sealed), ("0d", b"")):
        await store.put(key, content, ttl_s=60, scope=ACME)
    tiers = bench.tiers(store)
    for key in ("0a", "0b", "0c", "0d"):
        assert await tiers.get(key) is None
        assert await tiers.get(key) is None
    assert bench.alerts == ["tampered"] * 4
    await tiers.close()
    after = bench.store()
    assert [await after.get(key) for key in ("0a", "0b", "0c", "0d")] == [None] * 4


async def test_an_entry_of_another_secret_is_a_miss_and_may_be_overwritten(bench: Bench) -> None:
    await bench.put_by_another("0a", secret=b"another secret")
    tiers = bench.tiers(bench.store())
    assert await tiers.get("0a") is None
    tiers.put("0a", bench.entry("ours"), ACME)
    await tiers.close()
    assert await body_of(bench.tiers(bench.store()), "0a") == b"ours"


async def test_a_scope_is_cleared_in_both_tiers_and_on_the_way_between_them(bench: Bench) -> None:
    await bench.put_by_another("01", "02")
    await bench.put_by_another("03", scope=GLOBEX)
    store = bench.gate()
    tiers = bench.tiers(store)
    assert await body_of(tiers, "01") == b"01"  # of another process: its scope came with it
    store.gate.clear()
    for key, scope in (("04", ACME), ("05", ACME), ("06", GLOBEX)):
        tiers.put(key, bench.entry(key), scope)
    await settle()  # the first write is under way
    clearing = asyncio.create_task(tiers.clear(ACME))
    await settle()
    store.gate.set()
    assert await clearing == 3  # 01 and 02, and 04, which was under way
    await tiers.close()
    for each in (tiers, bench.tiers(bench.store())):
        assert [key for key in ("01", "02", "04", "05") if await each.get(key)] == []
    left = bench.tiers(bench.store())
    assert [await body_of(left, key) for key in ("03", "06")] == [b"03", b"06"]
    assert await left.clear(None) == 2
    assert await left.get("03") is None


async def test_what_was_read_before_a_clear_is_not_given_after_it(bench: Bench) -> None:
    await bench.put_by_another("0a")
    store = bench.gate()
    tiers = bench.tiers(store)
    store.gate.clear()
    reading = asyncio.create_task(tiers.get("0a"))
    await store.asked.wait()
    clearing = asyncio.create_task(tiers.clear(None))
    await settle()
    store.gate.set()
    assert await clearing == 1
    assert await reading is None
    assert await tiers.get("0a") is None


async def test_what_is_put_while_the_store_is_asked_is_what_is_given(bench: Bench) -> None:
    await bench.put_by_another("0a")
    store = bench.gate()
    tiers = bench.tiers(store)
    store.gate.clear()
    reading = asyncio.create_task(tiers.get("0a"))
    await store.asked.wait()
    tiers.put("0a", bench.entry("newer"), ACME)
    store.gate.set()
    found = await reading
    assert found is not None
    assert found.entry.body == b"newer"
    await tiers.close()
    assert await body_of(bench.tiers(bench.store()), "0a") == b"newer"


async def test_a_clear_that_the_store_fails_says_so_and_clears_memory(bench: Bench) -> None:
    store = bench.gate()
    tiers = bench.tiers(store)
    tiers.put("0a", bench.entry("a"), ACME)
    store.failure = "out of order"
    with pytest.raises(StoreFailure, match="out of order"):
        await tiers.clear(ACME)
    assert await tiers.get("0a") is None


async def test_a_store_that_fails_is_a_miss_and_rests(bench: Bench) -> None:
    await bench.put_by_another("0a", "0b")
    store = bench.gate()
    tiers = bench.tiers(store)
    store.failure = "out of order"
    for _ in range(5):
        assert await tiers.get("0a") is None
    assert store.gets == 1
    bench.clock.now += 5
    for _ in range(5):
        assert await tiers.get("0a") is None
    assert store.gets == 2
    store.failure = None
    assert await tiers.get("0a") is None
    bench.clock.now += 5
    assert await body_of(tiers, "0a") == b"0a"
    assert await body_of(tiers, "0b") == b"0b"
    assert bench.alerts == ["read_failed"]


async def test_a_store_that_takes_no_writes_is_still_read(bench: Bench) -> None:
    await bench.put_by_another("0a")
    store = bench.gate()
    tiers = bench.tiers(store)
    store.failure = "full"
    tiers.put("0b", bench.entry("b"), ACME)
    tiers.put("0c", bench.entry("c"), ACME)
    await settle()
    assert tiers.dropped_writes == 2
    store.failure = None
    assert await body_of(tiers, "0a") == b"0a"
    assert await body_of(tiers, "0b") == b"b"
    assert bench.alerts == ["write_failed", "write_dropped", "write_dropped"]
    bench.clock.now += 5
    tiers.put("0d", bench.entry("d"), ACME)
    await tiers.close()
    assert tiers.dropped_writes == 2
    assert await body_of(bench.tiers(bench.store()), "0d") == b"d"


async def test_a_store_that_is_too_slow_is_a_miss(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers_module, "READ_LIMIT_S", 0.01)
    await bench.put_by_another("0a")
    store = bench.gate()
    tiers = bench.tiers(store)
    store.gate.clear()
    assert await tiers.get("0a") is None
    assert await tiers.get("0a") is None
    assert (store.gets, bench.alerts) == (1, ["read_failed"])


@pytest.mark.parametrize("body_bytes", [0, 100_000])
async def test_writes_that_are_too_many_or_too_large_to_wait_are_dropped_and_counted(
    bench: Bench, body_bytes: int
) -> None:
    tiers = bench.tiers(bench.store(), memory_bytes=64 * MEGABYTE)
    room = min(MAX_WAITING_WRITES, MAX_WAITING_BYTES // (body_bytes + OVERHEAD_BYTES))
    for number in range(room + 10):
        tiers.put(f"{number:x}", bench.entry("x" * body_bytes), ACME)
    assert tiers.dropped_writes == 10
    assert bench.alerts == ["write_dropped"] * 10
    tiers.put("0", bench.entry("x" * body_bytes), ACME)  # instead of the one that waits
    assert tiers.dropped_writes == 10
    await tiers.close()
    assert await tiers.get(f"{room + 9:x}") is not None
    other = bench.store()
    kept = [await other.get(f"{number:x}") is not None for number in range(room + 10)]
    assert kept == [True] * room + [False] * 10
    later = bench.tiers(bench.store())
    for number in range(room):  # the room is free again
        later.put(f"{number:x}", bench.entry(""), GLOBEX)
    assert later.dropped_writes == 0


async def test_after_the_close_memory_answers_and_nothing_is_written(bench: Bench) -> None:
    tiers = bench.tiers(bench.store())
    tiers.put("0a", bench.entry("a"), ACME)
    await tiers.close()
    await tiers.close()
    tiers.put("0b", bench.entry("b"), ACME)
    assert await body_of(tiers, "0a") == b"a"
    assert await tiers.get("0c") is None
    assert await body_of(bench.tiers(bench.store()), "0b") is None
    assert bench.alerts == []


async def test_a_close_does_not_wait_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers_module, "CLOSE_LIMIT_S", 0.01)
    store = bench.gate()
    store.gate.clear()
    tiers = bench.tiers(store)
    tiers.put("0a", bench.entry("a"), ACME)
    await tiers.close()
    with pytest.raises(StoreFailure, match="closed"):
        await store.get("0a")


def times_allowed(ask: Callable[[float], bool], moments: list[float]) -> list[float]:
    return [moment for moment in moments if ask(moment)]


def test_in_an_outage_one_request_in_each_pause_may_ask() -> None:
    breaker = Breaker(5.0)
    assert breaker.allows(0.0)
    assert breaker.fail(1.0)
    assert times_allowed(breaker.allows, [1, 3, 5.9, 6, 6, 10.9, 11, 12]) == [6, 11]
    assert not breaker.fail(12.0)
    assert times_allowed(breaker.allows, [16, 17, 18]) == [17]
    assert breaker.succeed()
    assert breaker.allows(18.0)
    assert not breaker.succeed()


def test_a_clock_that_is_set_back_does_not_prolong_an_outage() -> None:
    breaker = Breaker(5.0)
    breaker.fail(1000.0)
    assert times_allowed(breaker.allows, [10, 11, 15]) == [10, 15]
