"""Ask a database on every request and yet seldom: what it last said is believed for a while."""

from asyncio import timeout
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from phi3_bento.database import DATABASE_ERRORS
from phi3_bento.errors import Unavailable

MAX_ENTRIES = 4096
"""Names that are remembered, and as many that name nothing."""

ANSWER_LIMIT_S = 2.0
"""A database that takes longer has failed: a request waits for it."""

RETRY_AFTER_S = 5.0

_T = TypeVar("_T")


class Line:
    """The way to the database; it rests after a failure, so that not every request waits for it."""

    def __init__(self, rest_s: float, clock: Callable[[], float]) -> None:
        self._rest_s = rest_s
        self._clock = clock
        self._failed = False
        self._rests_until = -inf

    async def ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """The answer. Raises `Unavailable` where it fails, or failed less than `rest_s` ago."""
        if self._clock() < self._rests_until:
            raise _unavailable()
        if self._failed:
            # This request tries again; the others need not wait with it.
            self._rests_until = self._clock() + self._rest_s
        try:
            async with timeout(ANSWER_LIMIT_S):
                answer = await question()
        except DATABASE_ERRORS as error:
            self._failed, self._rests_until = True, self._clock() + self._rest_s
            raise _unavailable() from error
        self._failed, self._rests_until = False, -inf
        return answer


@dataclass(slots=True)
class _Entry(Generic[_T]):
    answer: _T
    confirmed_at: float
    asked_at: float


class Recall(Generic[_T]):
    """Answers by name: fresh for `ttl_s`; on a failure, what was found serves for `stale_s`."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[_T | None]],
        *,
        ttl_s: float,
        stale_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._clock = clock
        self._found: dict[str, _Entry[_T]] = {}
        # Apart from what was found: who tries many names pushes none of those out.
        self._absent: dict[str, float] = {}

    async def get(self, name: str) -> _T | None:
        """What `name` stands for; None: nothing. Raises `Unavailable`: not known now."""
        now = self._clock()
        entry = self._found.get(name)
        if entry is not None:
            if now - entry.asked_at < self._ttl_s:
                return entry.answer
            entry.asked_at = now  # one request asks; the others go on with the answer at hand
        elif now - self._absent.get(name, -inf) < self._ttl_s:
            return None
        try:
            answer = await self._ask(name)
        except Unavailable:
            if entry is not None and now - entry.confirmed_at < self._stale_s:
                return entry.answer
            raise
        self._remember(name, answer, now)
        return answer

    def _remember(self, name: str, answer: _T | None, now: float) -> None:
        self._found.pop(name, None)
        self._absent.pop(name, None)
        if answer is None:
            self._absent[name] = now
        else:
            self._found[name] = _Entry(answer, confirmed_at=now, asked_at=now)
        for memory in (self._found, self._absent):
            if len(memory) > MAX_ENTRIES:
                del memory[next(iter(memory))]


def _unavailable() -> Unavailable:
    return Unavailable("API keys cannot be checked at the moment.", retry_after_s=RETRY_AFTER_S)
