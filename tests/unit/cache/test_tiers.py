"""Two tiers as one: memory first, then the store, which may be slow, broken or tampered with."""

import asyncio

from phi3_bento.cache.entry import Found, Tier
from tests.unit.cache.tiers_bench import ACME, GLOBEX, Bench, body_of, settle


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
