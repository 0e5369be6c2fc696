"""What limits say to people and in headers, and when a store is asked."""

import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.admission.failover import Breaker
from phi3_bento.admission.limits import Limiter
from phi3_bento.admission.standing import Allowance, Standing, duration
from phi3_bento.caller import LOCAL_CALLER, Caller, Quota
from phi3_bento.errors import RateLimited

NOWHERE = "redis://127.0.0.1:1/0"
"""Nothing listens there."""


def caller(**quota: int | None) -> Caller:
    return Caller(tenant="tests", key_id="reader", quota=Quota(**quota))


async def refused(limiter: Limiter, who: Caller, tokens: int = 0) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire(who, tokens)
    return caught.value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.001, "1s"),
        (1, "1s"),
        (59.1, "1m0s"),
        (360, "6m0s"),
        (3599.5, "1h0m0s"),
        (86_399, "23h59m59s"),
    ],
)
def test_durations_are_whole_seconds_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 10**6))
def test_a_duration_never_promises_too_much(seconds: float) -> None:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(\d+)s", duration(seconds))
    assert match is not None
    hours, minutes, second = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + second
    assert total - 1 < seconds <= total
    assert max(minutes, second) < 60


def test_a_kind_without_a_limit_has_no_headers() -> None:
    tokens = Allowance(limit=1000, remaining=10, reset_s=59.5)
    assert Standing().headers() == {}
    assert Standing(tokens=tokens).headers() == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert len(Standing(requests=tokens, tokens=tokens).headers()) == 6


async def test_a_refusal_names_the_limit_its_size_and_when_it_is_free() -> None:
    limiter = Limiter.from_url("memory://")
    who = caller(requests_per_minute=1, tokens_per_minute=50)
    await limiter.acquire(who, 20)
    error = await refused(limiter, who, 1)
    assert re.fullmatch(
        r"The key 'reader' may use 1 requests per minute: 1 are used, and this request needs 1\. "
        r"All are free again in (1m0s|59s)\.",
        error.message,
    )
    assert error.retry_after_s is not None
    assert 55 < error.retry_after_s <= 60


async def test_a_limit_that_is_free_tomorrow_says_at_what_time() -> None:
    limiter = Limiter.from_url("memory://")
    who = caller(tokens_per_day=100)
    await limiter.acquire(who, 60)
    error = await refused(limiter, who, 41)
    assert error.retry_after_s == pytest.approx(86_400, abs=60)
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + error.retry_after_s))
    assert "may use 100 tokens per day: 60 are used, and this request needs 41" in error.message
    assert f", at {day} " in error.message
    assert error.headers["retry-after"] == "120"


@pytest.mark.parametrize(
    ("quota", "tokens"),
    [
        ({"tokens_per_minute": 10}, 11),
        ({"tokens_per_day": 10}, 11),
        ({"requests_per_minute": 0}, 0),
        ({"concurrent_requests": 0}, 0),
    ],
)
async def test_what_can_never_pass_is_refused_for_good(quota: dict[str, int], tokens: int) -> None:
    error = await refused(Limiter.from_url("memory://"), caller(**quota), tokens)
    assert error.retry_after_s is None
    assert error.headers == {"x-should-retry": "false"}


async def test_a_full_slot_is_worth_another_try() -> None:
    limiter = Limiter.from_url("memory://")
    await limiter.acquire(caller(concurrent_requests=1), 0)
    error = await refused(limiter, caller(concurrent_requests=1))
    assert "1 requests at once" in error.message
    assert error.retry_after_s == 1


async def test_a_caller_without_limits_asks_no_store(caplog: pytest.LogCaptureFixture) -> None:
    limiter = Limiter.from_url(NOWHERE)
    lease = await limiter.acquire(LOCAL_CALLER, 10**9)
    await lease.settle(10**9)
    assert (lease.standing, await limiter.standing(LOCAL_CALLER)) == (Standing(), Standing())
    assert caplog.records == []
    await limiter.acquire(caller(requests_per_minute=1), 1)
    assert len(caplog.records) == 1
    await limiter.close()


async def test_without_redis_limits_go_on_here_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limiter = Limiter.from_url(NOWHERE, retry_s=0)
    who = caller(requests_per_minute=2, concurrent_requests=2)
    with caplog.at_level(logging.INFO, "bentoml.phi3"):
        first = await limiter.acquire(who, 1)
        await limiter.acquire(who, 1)
        await refused(limiter, who)
        await first.release()
        await limiter.acquire(who, 1)
        assert (await limiter.standing(who)).headers()["x-ratelimit-remaining-requests"] == "0"
    (record,) = caplog.records
    assert "Redis does not answer" in record.getMessage()
    await limiter.close()


def test_a_broken_store_is_asked_by_one_request_in_each_pause() -> None:
    breaker = Breaker(retry_s=5)
    assert breaker.allows(0)
    assert breaker.allows(0)
    assert breaker.fail(1)
    assert not breaker.fail(2)
    assert not breaker.allows(6.9)
    assert [breaker.allows(7), breaker.allows(7), breaker.allows(11.9)] == [True, False, False]
    assert breaker.allows(12)
    assert breaker.succeed()
    assert not breaker.succeed()
    assert breaker.allows(12)
