"""What the tests of limits share: callers, ways to ask, and limiters that are closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from phi3_bento.admission.limits import Lease, Limiter
from phi3_bento.caller import Caller, Quota
from phi3_bento.errors import RateLimited

Make = Callable[..., Limiter]


@asynccontextmanager
async def limiters() -> AsyncIterator[Make]:
    """Makes limiters, and closes them in the end."""
    made: list[Limiter] = []

    def make(url: str, **options: float | Callable[[], float]) -> Limiter:
        made.append(Limiter.from_url(url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        await each.close()


def caller(**quota: int) -> Caller:
    """A caller whom no other test knows."""
    return Caller(tenant="tests", key_id=uuid4().hex, quota=Quota(**quota))


async def try_to_acquire(limiter: Limiter, who: Caller, tokens: int = 1) -> Lease | None:
    try:
        return await limiter.acquire(who, tokens)
    except RateLimited as error:
        assert error.retry_after_s is not None
        return None


async def remaining(limiter: Limiter, who: Caller) -> tuple[int | None, int | None]:
    """Requests and tokens that are left in this minute."""
    standing = await limiter.standing(who)
    return (
        standing.requests and standing.requests.remaining,
        standing.tokens and standing.tokens.remaining,
    )


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait, for ten seconds at most, until `condition` holds."""
    for _ in range(200):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to hold")


class Clock:
    """The time, which a test can move."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s
