"""Finds an earlier question that means the same as one that is asked now."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.breaker import Breaker
from phi3_bento.cache.entry import Entry, TamperedEntry, seal, unseal
from phi3_bento.cache.semantic.base import (
    Neighbour,
    NotEmbeddableError,
    Row,
    Vector,
    VectorStore,
)
from phi3_bento.cache.semantic.guards import refusal
from phi3_bento.cache.semantic.question import Question
from phi3_bento.cache.semantic.search import Search, Twin

logger = logging.getLogger("bentoml.phi3")

CANDIDATES = 5
STORE_LIMIT_S = 0.25
RETRY_S = 5.0

Embed = Callable[[Sequence[str]], Sequence[Vector]]
T = TypeVar("T")


class SemanticIndex:
    """Questions that have an answer in the exact cache; belongs to one event loop.

    Raises nothing: a store that fails, and a text that cannot be embedded, find no twin. Texts are
    embedded one by one, in a thread: all at once they would take the cores from the engine.
    """

    def __init__(
        self,
        embed: Embed,
        vectors: VectorStore,
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
        on_alert: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._embed = embed
        self._vectors = vectors
        self._secret = secret
        self._clock = clock
        self._on_alert = on_alert
        self._breaker = Breaker(RETRY_S)
        self._thread = ThreadPoolExecutor(1, "embedding")

    async def search(self, question: Question, threshold: float) -> Search:
        """The twins of `question` among the nearest, at least `threshold` similar."""
        loop = asyncio.get_running_loop()
        try:
            (vector,) = await loop.run_in_executor(self._thread, self._embed, [question.text])
        except NotEmbeddableError:
            return Search(refused_by="not_embeddable")
        try:
            nearest = await self._guarded(
                lambda: self._vectors.nearest(question.partition, vector, CANDIDATES)
            )
        except StoreFailure:
            return Search(vector=vector, refused_by="store_failed")
        return self._judged(question, vector, nearest, threshold)

    async def add(self, question: Question, vector: Vector, key: str, ttl_s: float) -> None:
        """Note that the answer to `question` is kept under `key`."""
        # With the vector: who can write to the store must not say what is alike.
        body = vector.tobytes() + question.text.encode()
        kept = Entry(body, self._clock(), ttl_s, 0.0)
        sealed = seal(kept, _name(question, key), self._secret)
        row = Row(question.partition, question.scope, key, sealed, vector)
        try:
            await self._guarded(lambda: self._vectors.add(row, ttl_s))
        except StoreFailure as error:
            logger.debug("A question was not noted: %s", error)

    async def forget(self, key: str) -> None:
        """The answer of `key` is kept no longer."""
        try:
            await self._guarded(lambda: self._vectors.remove(key))
        except StoreFailure as error:
            logger.debug("A question was not forgotten: %s", error)

    async def clear(self, scope: str | None) -> int:
        """Forget the questions of a scope, or all (None). Raises `StoreFailure`."""
        return await self._vectors.clear(scope)

    async def close(self) -> None:
        """Close the store."""
        self._thread.shutdown(wait=False)
        await self._vectors.close()

    def _judged(
        self, question: Question, vector: Vector, nearest: list[Neighbour], threshold: float
    ) -> Search:
        twins, refused_by = [], None
        for position, neighbour in enumerate(nearest):
            reason = self._refusal(question, vector, neighbour, threshold)
            if reason is None:
                twins.append(Twin(neighbour.key, neighbour.similarity))
            elif position == 0:
                refused_by = reason
        best = nearest[0].similarity if nearest else None
        return Search(tuple(twins), vector, best, refused_by)

    def _refusal(
        self, question: Question, vector: Vector, neighbour: Neighbour, threshold: float
    ) -> str | None:
        if neighbour.similarity < threshold:
            return "similarity"
        try:
            body = unseal(neighbour.sealed, _name(question, neighbour.key), self._secret).body
        except TamperedEntry as error:
            logger.error("The vector store gave what is not ours (%s).", error)
            self._on_alert("tampered")
            return "tampered"
        kept, text = np.frombuffer(body[: vector.nbytes], np.float32), body[vector.nbytes :]
        if float(np.dot(kept, vector)) < threshold:
            return "similarity"
        return refusal(question.text, text.decode())

    async def _guarded(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers. Raises `StoreFailure`; also while the store rests."""
        if not self._breaker.allows(self._clock()):
            raise StoreFailure("it failed a moment ago")
        try:
            async with asyncio.timeout(STORE_LIMIT_S):
                answer = await ask()
        except (StoreFailure, TimeoutError) as error:
            if self._breaker.fail(self._clock()):
                logger.warning("The vector store failed (%s): no semantic hits meanwhile.", error)
                self._on_alert("vectors_failed")
            raise StoreFailure(str(error) or "no answer in time") from error
        if self._breaker.succeed():
            logger.warning("The vector store answers again.")
        return answer


def _name(question: Question, key: str) -> str:
    """What a sealed question is bound to: it is nobody else's, and no other answer's."""
    return f"semantic/{question.scope}/{question.partition}/{key}"
