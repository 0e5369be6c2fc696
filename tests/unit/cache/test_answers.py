"""What the cache does with an answer besides giving it: check, count, forget."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.entry import Entry, Tier
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.plan import Plan
from phi3_bento.cache.replay import Recording, pack
from phi3_bento.cache.tiers import Tiers
from phi3_bento.call import Call
from phi3_bento.caller import Caller
from phi3_bento.core import Job, Operation, TokenCount
from phi3_bento.record import RequestRecord
from tests.unit.bench import CHAT, Bench, MakeParts
from tests.unit.cache.packs import CARD, MADE_AT, answer_to, body_of, write_pack

SECRET = b"the deployment's secret"
MEGABYTE = 2**20


class Clock:
    now = MADE_AT

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tiers(clock: Clock) -> Tiers:
    return Tiers(MemoryCache(MEGABYTE), None, SECRET, clock=clock)


@pytest.fixture
def cache(tiers: Tiers, clock: Clock) -> AnswerCache:
    return AnswerCache(tiers, SECRET, ttl_s=3600.0, clock=clock)


def plan_of(
    cache: AnswerCache,
    question: str = "a",
    *,
    tenant: str = "acme",
    cache_control: str | None = None,
    is_idle: bool = False,
) -> Plan:
    call = Call(Caller(tenant, "k"), "id", cache_control=cache_control, is_idle=is_idle)
    plan = cache.plan(Operation.CHAT, body_of(question), call, CARD)
    assert plan is not None
    return plan


async def make(cache: AnswerCache, plan: Plan, *texts: bytes) -> None:
    async def generate() -> AsyncGenerator[bytes, None]:
        for text in texts:
            yield text

    flight = cache.begin(plan, Job(Operation.CHAT, "id", {}), generate)
    assert [piece async for piece in flight.listen()] == list(texts)


async def test_an_answer_to_another_question_is_a_miss_an_alert_and_gone(
    cache: AnswerCache, tiers: Tiers
) -> None:
    plan, other = plan_of(cache), plan_of(cache, "b")
    body = pack(Recording(other.identity, [b"{}"], TokenCount()))
    tiers.put(plan.key, Entry(body, MADE_AT, 60.0, 1.0), plan.scope)
    assert await cache.find(plan) is None
    assert tiers.alerts == {"foreign": 1}
    assert plan.key not in tiers.memory


async def test_a_hit_tells_where_it_was_and_what_it_saved(cache: AnswerCache, clock: Clock) -> None:
    plan = plan_of(cache)

    async def generate() -> AsyncGenerator[bytes, None]:
        clock.now += 2.5
        yield b"{}"

    flight = cache.begin(plan, Job(Operation.CHAT, "id", {}), generate)
    async for _ in flight.listen():
        pass
    clock.now += 10
    kept = await cache.find(plan)
    assert kept is not None
    assert (kept.tier, kept.saved_s, kept.age_s, kept.left_s) == (Tier.MEMORY, 2.5, 10, 3590)
    assert kept.headers() == {"cache-status": "phi3; hit; ttl=3590", "age": "10"}


async def test_the_warm_cache_answers_every_tenant_after_their_own(
    cache: AnswerCache, clock: Clock, tmp_path: Path
) -> None:
    path = write_pack(tmp_path / "pack.jsonl", answer_to("a"))
    cache.warm.load(path, cap_bytes=MEGABYTE, ttl_s=3600.0)
    cache.open(CARD)
    clock.now += 7200
    for tenant in ("acme", "globex"):
        kept = await cache.find(plan_of(cache, tenant=tenant))
        assert kept is not None
        # It is older than its time to live: the model's revision says that it still holds.
        assert kept.headers() == {
            "cache-status": "phi3; hit; ttl=3600; detail=warm",
            "age": "7200",
        }
    assert await cache.find(plan_of(cache, cache_control="max-age=7199")) is None
    assert await cache.find(plan_of(cache, cache_control="no-cache")) is None
    await make(cache, plan_of(cache), b"{}")
    own = await cache.find(plan_of(cache, cache_control="max-age=7199"))
    assert own is not None
    assert own.tier is Tier.MEMORY
    other = await cache.find(plan_of(cache, tenant="globex"))
    assert other is not None
    assert other.tier is Tier.WARM


async def test_the_warm_cache_takes_its_room_from_memory_s(
    cache: AnswerCache, tiers: Tiers, tmp_path: Path
) -> None:
    path = write_pack(tmp_path / "pack.jsonl", *(answer_to(question) for question in "abc"))
    cache.warm.load(path, cap_bytes=MEGABYTE, ttl_s=60.0)
    cache.open(CARD)
    assert cache.warm.bytes_used > 0
    assert tiers.memory.cap_bytes + cache.warm.bytes_used == MEGABYTE


async def test_what_was_begun_before_a_clear_is_not_kept(cache: AnswerCache) -> None:
    going_on = asyncio.Event()
    plan = plan_of(cache)

    async def generate() -> AsyncGenerator[bytes, None]:
        await going_on.wait()
        yield b"{}"

    flight = cache.begin(plan, Job(Operation.CHAT, "id", {}), generate)
    await cache.clear("acme")
    going_on.set()
    assert [piece async for piece in flight.listen()] == [b"{}"]
    assert await cache.find(plan) is None
    await make(cache, plan, b"{}")
    assert await cache.find(plan) is not None


async def test_who_is_in_a_hurry_waits_for_no_idle_generation_that_has_not_begun(
    cache: AnswerCache,
) -> None:
    begins, ends = asyncio.Event(), asyncio.Event()

    async def generate() -> AsyncGenerator[bytes, None]:
        await begins.wait()
        yield b"{}"
        await ends.wait()

    idle, hurried = plan_of(cache, is_idle=True), plan_of(cache)
    flight = cache.begin(idle, Job(Operation.CHAT, "id", {}), generate)
    assert cache.find_flight(idle) is flight
    assert cache.find_flight(hurried) is None
    begins.set()
    pieces = flight.listen()
    await anext(pieces)
    assert cache.find_flight(hurried) is flight
    ends.set()
    async for _ in pieces:
        pass
    hurried_flight = cache.begin(hurried, Job(Operation.CHAT, "id", {}), generate)
    assert cache.find_flight(hurried) is hurried_flight
    assert [piece async for piece in hurried_flight.listen()] == [b"{}"]


async def test_the_statistics_count_by_tier(cache: AnswerCache) -> None:
    for status, tier in (
        ("hit", "memory"),
        ("hit", "warm"),
        ("hit", "warm"),
        ("collapsed", None),
        ("miss", None),
        (None, None),
    ):
        record = RequestRecord(Operation.CHAT, "id", cache_status=status, cache_tier=tier)
        record.saved_s = 0.5 if tier else 0.0
        cache.observe(record)
    await make(cache, plan_of(cache), b"{}")
    statistics = await cache.statistics()
    assert statistics["hits"] == {"memory": 1, "store": 0, "warm": 2, "semantic": 0}
    assert (statistics["collapsed"], statistics["misses"]) == (1, 1)
    assert statistics["saved_seconds"] == 1.5
    assert statistics["memory"]["entries"] == 1
    assert 0 < statistics["memory"]["bytes"] < statistics["memory"]["cap_bytes"] == MEGABYTE
    assert (statistics["store"], statistics["alerts"]) == (None, {})


async def test_a_broken_store_is_told_in_the_statistics(parts: MakeParts, tmp_path: Path) -> None:
    (tmp_path / "cache.db").mkdir()
    bench = Bench(parts).opened()
    statistics = await bench.parts.cache.statistics()
    assert "error" in statistics["store"]


async def test_the_metrics_count_hits_by_tier_and_what_they_saved(parts: MakeParts) -> None:
    bench = Bench(parts).opened()
    body: dict[str, Any] = CHAT | {"temperature": 0}
    for _ in range(3):
        async for _ in bench.answer(body):
            pass
    assert bench.value("phi3_cache_hits_total", tier="memory") == 2
    assert bench.value("phi3_cache_requests_total", result="hit") == 2
    saved = bench.value("phi3_cache_saved_seconds_total")
    assert saved is not None
    assert saved > 0
    statistics = await bench.parts.cache.statistics()
    assert statistics["saved_seconds"] == pytest.approx(saved, abs=0.001)
