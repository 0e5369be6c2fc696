"""Windows end by a clock that nobody can set, and counters whose window has ended are forgotten."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from phi3_bento.admission.counters import MemoryCounters
from phi3_bento.admission.limits import Limiter
from phi3_bento.caller import Caller, Quota
from phi3_bento.errors import RateLimited

DAY_S = 86_400.0
CALLER = Caller("acme", "k1", quota=Quota(requests_per_minute=2, tokens_per_day=100))


@pytest.fixture(params=[DAY_S, -DAY_S], ids=["forward", "back"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's clock is set by a day, when the iterator is asked."""

    def set_clock() -> Iterator[None]:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + request.param)
        yield

    return set_clock()


async def test_a_clock_that_is_set_neither_frees_nor_locks_a_key(jump: Iterator[None]) -> None:
    limiter = Limiter.from_url("memory://", minute_s=1)
    for _ in range(2):
        await (await limiter.acquire(CALLER, 10)).settle(10)
    next(jump)
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire(CALLER, 10)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 1
    await asyncio.sleep(caught.value.retry_after_s)
    lease = await limiter.acquire(CALLER, 80)
    await lease.settle(80)
    with pytest.raises(RateLimited, match="per day"):
        await limiter.acquire(CALLER, 1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_window_begins_with_its_first_use_and_ends_with_its_time() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    assert (await counters.add("a", 2, 60)).ends_at == 1060
    clock.now += 30
    assert (await counters.add("a", 3, 60)) == (await counters.read("a"))
    assert ((await counters.read("a")).used, (await counters.read("a")).ends_at) == (5, 1060)
    clock.now += 30
    assert (await counters.read("a")).used == 0
    assert (await counters.add("a", 1, 60)).ends_at == 1120


async def test_a_counter_that_is_back_at_zero_begins_a_new_window() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    await counters.add("a", 2, 60)
    await counters.give_back("a", 2, left_s=60)
    clock.now += 10
    assert (await counters.add("a", 1, 60)).ends_at == 1070


async def test_what_is_given_back_too_late_or_too_much_changes_nothing_else() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    await counters.add("a", 2, 60)
    await counters.give_back("a", 1, left_s=0)
    assert (await counters.read("a")).used == 2
    await counters.give_back("a", 5, left_s=1)
    assert (await counters.read("a")).used == 0


async def test_counters_of_windows_that_ended_take_no_memory() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    for number in range(1000):
        await counters.add(f"{number}", 1, 10)
    clock.now += 61
    await counters.add("one more", 1, 10)
    assert len(counters) == 1
