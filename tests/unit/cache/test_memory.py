"""The tier in memory: never above its cap, and full of what saves the most engine time."""

import gc
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.entry import OVERHEAD_BYTES, Entry
from phi3_bento.cache.memory import MemoryCache

NOW = 1_800_000_000.0
SCOPE = "aa"
SIZE = OVERHEAD_BYTES + 232


def entry(
    body_bytes: int = 232, *, engine_ms: float = 100.0, ttl_s: float = 3600.0, made_at: float = NOW
) -> Entry:
    return Entry(bytes(body_bytes), made_at, ttl_s, engine_ms)


def ask(cache: MemoryCache, key: str, times: int = 1, **options: float) -> None:
    """Ask for `key`, and keep it where it is not there, as a request does."""
    for _ in range(times):
        if cache.get(key, NOW) is None:
            cache.put(key, entry(**options), SCOPE, NOW)  # type: ignore[arg-type]


def test_what_was_put_is_given_until_its_time_is_over() -> None:
    cache = MemoryCache(10_000)
    kept = entry(ttl_s=60)
    cache.put("a", kept, SCOPE, NOW)
    assert cache.get("a", NOW + 59) is kept
    assert (len(cache), cache.bytes_used) == (1, SIZE)
    assert cache.get("a", NOW + 60) is None
    assert (len(cache), cache.bytes_used) == (0, 0)
    assert cache.get("b", NOW) is None


def test_what_is_over_already_or_larger_than_the_cap_is_not_kept() -> None:
    cache = MemoryCache(10_000)
    cache.put("a", entry(), SCOPE, NOW)
    cache.put("old", entry(ttl_s=60, made_at=NOW - 60), SCOPE, NOW)
    cache.put("large", entry(10_001 - OVERHEAD_BYTES), SCOPE, NOW)
    assert "a" in cache
    assert len(cache) == 1
    cache.put("fits", entry(10_000 - OVERHEAD_BYTES - SIZE), SCOPE, NOW)
    assert "fits" in cache
    assert cache.bytes_used == 10_000


def test_a_key_has_its_last_entry_and_never_an_earlier_one() -> None:
    cache = MemoryCache(10_000)
    cache.put("a", entry(100), SCOPE, NOW)
    later = entry(200)
    cache.put("a", later, SCOPE, NOW)
    assert cache.get("a", NOW) is later
    assert cache.bytes_used == later.size_bytes
    cache.put("a", entry(20_000), SCOPE, NOW)
    assert cache.get("a", NOW) is None
    assert cache.bytes_used == 0


def test_one_scope_or_everything_is_cleared() -> None:
    cache = MemoryCache(100_000)
    for number in range(10):
        cache.put(f"{number}", entry(), "aa" if number % 2 else "bb", NOW)
    assert cache.clear("aa") == 5
    assert (len(cache), cache.bytes_used) == (5, 5 * SIZE)
    assert cache.clear("aa") == 0
    assert cache.clear(None) == 5
    assert (len(cache), cache.bytes_used) == (0, 0)


def test_the_entry_that_saves_the_least_time_for_its_size_goes_first() -> None:
    cache = MemoryCache(4 * SIZE)
    ask(cache, "cheap", engine_ms=10)
    ask(cache, "costly", engine_ms=1000)
    ask(cache, "large", body_bytes=232 + SIZE, engine_ms=1000)
    for number in range(3):
        ask(cache, f"newcomer {number}", times=2, engine_ms=800)
        gone = [key for key in ("cheap", "large", "costly") if key not in cache]
        assert gone == ["cheap", "large", "large"][: min(number + 1, 2)]


def test_what_is_hit_often_stays_and_what_no_longer_is_goes_in_the_end() -> None:
    cache = MemoryCache(3 * SIZE)
    ask(cache, "once useful", times=5)
    ask(cache, "useful", times=5)
    for number in range(40):
        ask(cache, "useful", times=5)
        ask(cache, f"of the day {number}", times=8)
    assert "useful" in cache
    assert "once useful" not in cache


def test_a_newcomer_must_be_asked_for_more_often_than_what_it_pushes_out() -> None:
    cache = MemoryCache(2 * SIZE)
    ask(cache, "a", times=2)
    ask(cache, "b", times=2)
    ask(cache, "newcomer", times=2, engine_ms=10_000)
    assert "newcomer" not in cache
    assert {"a", "b"} == {key for key in ("a", "b") if key in cache}
    ask(cache, "newcomer", times=1)
    assert "newcomer" in cache


def test_a_large_newcomer_must_beat_every_entry_that_it_pushes_out() -> None:
    cache = MemoryCache(3 * SIZE)
    ask(cache, "a", times=1)
    ask(cache, "b", times=1)
    ask(cache, "c", times=6)
    ask(cache, "large", times=5, body_bytes=3 * SIZE - OVERHEAD_BYTES)
    assert [key for key in ("a", "b", "c", "large") if key in cache] == ["a", "b", "c"]
    ask(cache, "large", times=2, body_bytes=3 * SIZE - OVERHEAD_BYTES)
    assert [key for key in ("a", "b", "c", "large") if key in cache] == ["large"]


def test_entries_that_are_over_make_room_before_any_other() -> None:
    cache = MemoryCache(2 * SIZE)
    ask(cache, "short", times=9, ttl_s=10)
    ask(cache, "long", times=9)
    later = NOW + 10
    cache.put("newcomer", entry(made_at=later), SCOPE, later)
    assert [key for key in ("short", "long", "newcomer") if key in cache] == ["long", "newcomer"]


@dataclass(frozen=True)
class Step:
    kind: str
    key: str
    body_bytes: int
    engine_ms: float
    ttl_s: float
    wait_s: float


steps = st.builds(
    Step,
    st.sampled_from(["get", "get", "ask", "ask", "put", "clear", "clear all"]),
    st.sampled_from([f"{number:x}" for number in range(24)]),
    st.integers(0, 6000),
    st.sampled_from([-1.0, 0.0, 1.0, 100.0, 1e9]),
    st.sampled_from([0.0, 1.0, 30.0, 1e6]),
    st.sampled_from([0.0, 0.0, 1.0, 20.0, -10.0]),
)


@given(st.integers(0, 12_000), st.lists(steps, max_size=200))
def test_the_cap_holds_and_answers_are_the_last_ones_whatever_happens(
    cap_bytes: int, sequence: list[Step]
) -> None:
    cache, now = MemoryCache(cap_bytes), NOW
    last: dict[str, Entry] = {}
    for step in sequence:
        now += step.wait_s
        found = cache.get(step.key, now) if step.kind in ("get", "ask") else None
        if found is not None:
            assert found is last[step.key]
            assert found.is_fresh(now)
        elif step.kind in ("ask", "put"):
            last[step.key] = entry(
                step.body_bytes, engine_ms=step.engine_ms, ttl_s=step.ttl_s, made_at=now
            )
            cache.put(step.key, last[step.key], SCOPE, now)
        elif step.kind.startswith("clear"):
            cache.clear("bb" if step.kind == "clear" else None)
        there = [last[key] for key in last if key in cache]
        assert len(cache) == len(there)
        assert cache.bytes_used == sum(kept.size_bytes for kept in there) <= cap_bytes


def test_a_million_keys_that_are_asked_for_once_leave_the_hot_set_in_place() -> None:
    cap_bytes = 2**20
    cache = MemoryCache(cap_bytes)
    hot = [f"hot {number}" for number in range(200)]
    for key in hot:
        ask(cache, key, times=3)
    body = entry()
    for number in range(1_000_000):
        key = f"{number:x}"
        assert cache.get(key, NOW) is None
        cache.put(key, body, SCOPE, NOW)
        if number % 100 == 0:  # one request in a hundred is for the hot set
            ask(cache, hot[number // 100 % len(hot)])
        if number % 1000 == 0:
            assert cache.bytes_used <= cap_bytes
    hits = sum(cache.get(key, NOW) is not None for key in hot)
    assert hits >= 0.9 * len(hot)
    assert cache.bytes_used > cap_bytes - 2 * SIZE


@pytest.mark.parametrize("kind", ["replaced", "over", "hit", "refused"])
def test_memory_does_not_grow_with_the_number_of_operations(kind: str) -> None:
    cache = MemoryCache(100 * SIZE)

    def work(rounds: int) -> None:
        for number in range(rounds):
            now = NOW + number if kind == "over" else NOW
            key = f"{number % 100}" if kind in ("replaced", "hit") else f"{number}"
            if kind != "hit" or key not in cache:
                cache.put(key, entry(ttl_s=10, made_at=now), SCOPE, now)
            cache.get(key, now)

    work(2_000)
    gc.collect()
    tracemalloc.start()
    try:
        work(20_000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Traced from here on: all hundred entries, and the garbage of twice as many.
    assert grown < 3 * 100 * SIZE


def test_what_an_entry_takes_in_memory_is_within_its_size() -> None:
    count = 5_000
    tracemalloc.start()
    try:
        cache = MemoryCache(2**30)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            kept = Entry(bytes(100), NOW + number / 8, 3600.0 + number, 1.0 + number)
            cache.put(f"{number:064x}", kept, f"{number % 4:064x}", NOW)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.bytes_used / 2 < taken < cache.bytes_used
