"""A store that fails, or is slow, harms nobody."""

import pytest

from phi3_bento.cache import tiers as tiers_module
from phi3_bento.cache.entry import OVERHEAD_BYTES
from phi3_bento.cache.store import StoreFailure
from phi3_bento.cache.tiers import MAX_WAITING_BYTES, MAX_WAITING_WRITES
from tests.unit.cache.tiers_bench import ACME, GLOBEX, MEGABYTE, Bench, body_of, settle


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
