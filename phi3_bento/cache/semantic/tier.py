"""The semantic tier of the cache: its index, its threshold, and what is noted in the background."""

import asyncio
from typing import Any

from phi3_bento.cache.semantic.audit import Vigilance
from phi3_bento.cache.semantic.index import SemanticIndex
from phi3_bento.cache.semantic.question import Question
from phi3_bento.cache.semantic.search import NO_SEARCH, Search


class SemanticTier:
    """Finds questions that mean the same, as long as its answers are true often enough."""

    def __init__(self, index: SemanticIndex, vigilance: Vigilance) -> None:
        self.index = index
        self.vigilance = vigilance
        self._writes: set[asyncio.Task[None]] = set()

    async def search(self, question: Question) -> Search:
        """What the index has for `question`; nothing while the tier is off."""
        if not self.vigilance.is_on:
            return NO_SEARCH
        return await self.index.search(question, self.vigilance.threshold)

    def note(self, question: Question, search: Search, key: str, ttl_s: float) -> None:
        """Have the answer of `key`, which was just made, found by questions like this one."""
        if search.vector is not None:
            write = asyncio.create_task(self.index.add(question, search.vector, key, ttl_s))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    def statistics(self) -> dict[str, Any]:
        """How true its answers were, as JSON."""
        vigilance = self.vigilance
        return {
            "on": vigilance.is_on,
            "threshold": vigilance.threshold,
            "audited": vigilance.audited,
            "false": vigilance.false,
            "false_ratio_at_most": round(vigilance.bounds.upper, 5),
        }

    async def close(self) -> None:
        """Write what is pending, and close the store."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self.index.close()
