"""Asking a store that may fail: for a limited time, and not at all for a while after a failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.breaker import Breaker

logger = logging.getLogger("bentoml.phi3")

T = TypeVar("T")


class StoreGuard:
    """Reads and writes of one store, each kind with its own rest; belongs to one event loop.

    `clock` gives Unix time. `on_outage` hears `read_failed` and `write_failed` when the store
    begins to rest, for `retry_s`.
    """

    def __init__(
        self, clock: Callable[[], float], retry_s: float, *, on_outage: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._retry_s = retry_s
        self._on_outage = on_outage
        self._breakers = {kind: Breaker(retry_s) for kind in ("read", "write")}

    async def ask(self, kind: str, limit_s: float, do: Callable[[], Awaitable[T]]) -> T:
        """What the store answers. Raises `StoreFailure`; also while the store rests."""
        breaker = self._breakers[kind]
        if not breaker.allows(self._clock()):
            raise StoreFailure("it failed a moment ago")
        try:
            answer = await self.wait(do(), limit_s)
        except StoreFailure as error:
            if breaker.fail(self._clock()):
                logger.warning(
                    "The cache's store failed a %s (%s). Answers are kept in memory; it is tried "
                    "again every %g s.",
                    kind,
                    error,
                    self._retry_s,
                )
                self._on_outage(f"{kind}_failed")
            raise
        if breaker.succeed():
            logger.warning("The cache's store does a %s again.", kind)
        return answer

    async def wait(self, answer: Awaitable[T], limit_s: float) -> T:
        """What the store answers, whether it rests or not. Raises `StoreFailure`."""
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError as error:
            raise StoreFailure(f"no answer in {limit_s:g} s") from error
