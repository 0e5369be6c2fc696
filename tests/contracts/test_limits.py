"""One suite for every store of limits: this process's memory, and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from phi3_bento.admission.failover import open_store
from phi3_bento.admission.limits import Lease, Limiter
from phi3_bento.caller import Caller, Quota
from phi3_bento.errors import RateLimited
from tests.contracts.limiters import (
    Make,
    caller,
    eventually,
    limiters,
    remaining,
    try_to_acquire,
)


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with limiters() as make:
        yield make


async def test_exactly_as_many_requests_come_in_as_may(url: str, make: Make) -> None:
    """Also over two limiters, where they share a store; those refused use nothing."""
    first = make(url)
    second = first if url.startswith("memory") else make(url)
    who = caller(requests_per_minute=57, tokens_per_minute=100_000, concurrent_requests=1000)
    leases = await asyncio.gather(
        *(try_to_acquire(limiter, who, 10) for limiter in [first, second] * 200)
    )
    assert sum(lease is not None for lease in leases) == 57
    assert await remaining(second, who) == (0, 100_000 - 57 * 10)


async def test_exactly_as_many_tokens_come_in_as_may(url: str, make: Make) -> None:
    first = make(url)
    second = first if url.startswith("memory") else make(url)
    who = caller(requests_per_minute=1000, tokens_per_minute=205)
    leases = await asyncio.gather(
        *(try_to_acquire(limiter, who, 10) for limiter in [first, second] * 100)
    )
    assert sum(lease is not None for lease in leases) == 20
    assert await remaining(first, who) == (980, 5)


async def test_as_many_run_at_once_as_may_and_one_more_when_one_has_ended(
    url: str, make: Make
) -> None:
    first = make(url)
    second = first if url.startswith("memory") else make(url)
    who = caller(concurrent_requests=3, tokens_per_minute=1000)
    tries = await asyncio.gather(*(try_to_acquire(each, who) for each in [first, second] * 50))
    leases = [lease for lease in tries if lease is not None]
    assert len(leases) == 3
    assert await remaining(first, who) == (None, 997)
    await leases[0].settle(1)
    await leases[1].release()
    assert await try_to_acquire(first, who)
    assert await try_to_acquire(second, who)
    assert await try_to_acquire(first, who) is None


async def test_a_request_that_is_refused_by_one_limit_uses_nothing_of_the_others(
    url: str, make: Make
) -> None:
    limiter = make(url)
    who = caller(
        requests_per_minute=5, tokens_per_minute=100, tokens_per_day=50, concurrent_requests=1
    )
    lease = await limiter.acquire(who, 30)
    for _ in range(8):
        assert await try_to_acquire(limiter, who, 21) is None
    assert await remaining(limiter, who) == (4, 70)
    for _ in range(8):
        assert await try_to_acquire(limiter, who, 20) is None
    assert await remaining(limiter, who) == (4, 70)
    await lease.release()
    assert await remaining(limiter, who) == (5, 100)
    await (await limiter.acquire(who, 50)).settle(50)
    assert await try_to_acquire(limiter, who, 1) is None


async def test_a_lease_tells_where_its_caller_stands(url: str, make: Make) -> None:
    limiter = make(url)
    who = caller(requests_per_minute=10, tokens_per_minute=100)
    assert (await limiter.standing(who)).headers() == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "10",
        "x-ratelimit-reset-requests": "0s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "0s",
    }
    lease = await limiter.acquire(who, 40)
    headers = lease.standing.headers()
    assert headers["x-ratelimit-remaining-requests"] == "9"
    assert headers["x-ratelimit-remaining-tokens"] == "60"
    assert headers["x-ratelimit-reset-tokens"] in ("1m0s", "59s", "58s")


@pytest.mark.parametrize(("used", "left"), [(0, 100), (10, 90), (40, 60), (49, 51), (130, 0)])
async def test_what_was_really_used_is_charged_in_the_end(
    url: str, make: Make, used: int, left: int
) -> None:
    """Less than was reserved, as much, more, and more than the whole limit."""
    limiter = make(url)
    who = caller(requests_per_minute=10, tokens_per_minute=100, tokens_per_day=1000)
    lease = await limiter.acquire(who, 40)
    await lease.settle(used)
    await lease.settle(99)
    await lease.release()
    assert await remaining(limiter, who) == (9, left)
    # One token more than the day has left is too much for it.
    of_the_day = Caller("tests", who.key_id, quota=Quota(tokens_per_day=1000))
    assert await try_to_acquire(limiter, of_the_day, 860)
    assert await try_to_acquire(limiter, of_the_day, 141 - used) is None
    assert await try_to_acquire(limiter, of_the_day, 140 - used)


async def test_a_released_lease_has_used_nothing_and_stays_released(url: str, make: Make) -> None:
    limiter = make(url)
    who = caller(requests_per_minute=1, tokens_per_minute=100, concurrent_requests=1)
    for _ in range(3):
        lease = await limiter.acquire(who, 100)
        await lease.release()
        await lease.settle(50)
        assert await remaining(limiter, who) == (1, 100)
    await limiter.acquire(who, 1)
    assert await try_to_acquire(limiter, who) is None


async def test_after_its_window_a_lease_is_charged_for_what_exceeds_it_and_credited_nothing(
    url: str, make: Make
) -> None:
    limiter = make(url, minute_s=2)
    who = caller(requests_per_minute=3, tokens_per_minute=100)
    released, cheaper, dearer = [await limiter.acquire(who, tokens) for tokens in (30, 40, 10)]
    assert await try_to_acquire(limiter, who) is None
    await asyncio.sleep(2.05)
    assert await remaining(limiter, who) == (3, 100)
    await limiter.acquire(who, 50)
    await released.release()
    await cheaper.settle(10)
    assert await remaining(limiter, who) == (2, 50)
    await dearer.settle(35)
    assert await remaining(limiter, who) == (2, 25)


async def test_the_wait_that_is_told_is_enough(url: str, make: Make) -> None:
    limiter = make(url, minute_s=2)
    who = caller(requests_per_minute=1)
    await limiter.acquire(who, 0)
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire(who, 0)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 2
    # Redis counts in whole milliseconds.
    await asyncio.sleep(caught.value.retry_after_s + 0.002)
    await limiter.acquire(who, 0)


async def test_a_counter_is_never_negative_and_touches_no_other_window(url: str) -> None:
    counters = open_store(url, slot_expiry_s=60).counters
    key = uuid4().hex
    await counters.give_back(key, 5, 30)
    assert (await counters.read(key)).used == 0
    await counters.add(key, 3, 60)
    await counters.give_back(key, 3, 0)
    assert (await counters.read(key)).used == 3
    await counters.give_back(key, 3, 60)
    emptied = await counters.read(key)
    assert emptied.used == 0
    assert (await counters.add(key, 4, 60)).used == 4
    await counters.close()


async def test_in_redis_a_window_is_known_by_its_end(redis_url: str) -> None:
    """What is given back at the very end of a window can arrive in the next."""
    counters = open_store(redis_url, slot_expiry_s=60).counters
    key = uuid4().hex
    await counters.add(key, 5, 60)
    await counters.give_back(key, 3, 0.01)
    await counters.give_back(key, 6, 60)
    assert (await counters.read(key)).used == 5
    await counters.close()


async def test_a_request_that_is_cancelled_gives_everything_back(url: str, make: Make) -> None:
    """Starlette's scopes cancel at every step of the cleaning up, too."""
    limiter = make(url)
    who = caller(requests_per_minute=10, tokens_per_minute=100, concurrent_requests=1)
    with anyio.CancelScope() as scope:
        lease = await limiter.acquire(who, 60)
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            await lease.settle(20)

    async def is_settled() -> bool:
        return await remaining(limiter, who) == (9, 80)

    await eventually(is_settled)
    assert await try_to_acquire(limiter, who)


REQUESTS, TOKENS, SLOTS = 8, 60, 3

steps = st.lists(
    st.tuples(st.sampled_from(["acquire", "settle", "release"]), st.integers(0, 70)), max_size=40
)


@given(sequence=steps)
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the URL is always the same
)
def test_after_any_sequence_the_counts_are_the_sum_of_what_was_used(
    url: str, sequence: list[tuple[str, int]]
) -> None:
    asyncio.run(_follow(url, sequence))


async def _follow(url: str, sequence: list[tuple[str, int]]) -> None:
    """Do the steps, and beside them keep the books of what is used and reserved by hand."""
    limiter = Limiter.from_url(url)
    who = caller(requests_per_minute=REQUESTS, tokens_per_minute=TOKENS, concurrent_requests=SLOTS)
    reserved: list[tuple[Lease, int]] = []
    requests = used = 0
    for step, number in sequence:
        if step == "acquire":
            held = used + sum(tokens for _, tokens in reserved)
            fits = (
                requests + len(reserved) < REQUESTS
                and held + number <= TOKENS
                and len(reserved) < SLOTS
            )
            try:
                reserved.append((await limiter.acquire(who, number), number))
            except RateLimited:
                assert not fits
            else:
                assert fits
        elif reserved:
            lease, _ = reserved.pop(number % len(reserved))
            if step == "settle":
                await lease.settle(number)
                requests, used = requests + 1, used + number
            else:
                await lease.release()
            await lease.settle(number)
            await lease.release()
        held = used + sum(tokens for _, tokens in reserved)
        left = REQUESTS - requests - len(reserved), max(TOKENS - held, 0)
        assert await remaining(limiter, who) == left
    await limiter.close()


async def test_in_redis_every_key_expires(redis_url: str, make: Make) -> None:
    """Whatever was given back, charged after the end, or refused meanwhile."""
    limiter = make(redis_url, minute_s=1)
    who = caller(
        requests_per_minute=3, tokens_per_minute=50, tokens_per_day=500, concurrent_requests=2
    )
    with Redis.from_url(redis_url) as redis:
        for number in range(30):
            lease = await try_to_acquire(limiter, who, number % 3 * 10)
            if lease is not None:
                await asyncio.sleep(number % 2 * 0.1)
                await (lease.settle(number) if number % 4 else lease.release())
            names = list(redis.scan_iter(f"*{who.key_id}*"))
            assert names
            assert -1 not in [redis.pttl(name) for name in names]
            assert all(int(redis.get(name) or 0) >= 0 for name in names if b"slots" not in name)
