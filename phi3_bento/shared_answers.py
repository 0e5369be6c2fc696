"""The way of a request that the cache may answer: kept, under way for somebody else, or to be made.

An answer that may be kept is always made as a stream, so that one generation serves whoever asks
for it, streamed or not.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import time
from typing import Any

from phi3_bento.admission.gate import Gate
from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.entry import Tier
from phi3_bento.cache.flight import Flight
from phi3_bento.cache.plan import Kept, Plan
from phi3_bento.cache.pledge import REPLAYED
from phi3_bento.cache.policy import status_of
from phi3_bento.cache.replay import Recording, addressed, is_usage, readdressed
from phi3_bento.cache.semantic.search import NO_SEARCH, Search
from phi3_bento.call import Call
from phi3_bento.core import Job, Operation, TokenCount
from phi3_bento.engine.base import Engine
from phi3_bento.errors import DeadlineUnmeetable, NotCached, PermissionDenied, RateLimited
from phi3_bento.record import RequestRecord

AS_STREAM = {"stream": True, "stream_options": {"include_usage": True}}

_PERSONAL = (PermissionDenied, RateLimited, DeadlineUnmeetable)
"""What admission refuses one caller and may grant another."""

Pieces = AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Sample:
    """A semantic hit that was given."""

    tenant: str
    body: Mapping[str, Any]
    """Of the request that got it."""
    pieces: Sequence[bytes]
    """Of the answer that it got."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on its way."""

    operation: Operation
    plan: Plan
    parse: Callable[[], Job]
    """The job as a stream, whatever the request wants; a hit needs none."""
    body: Mapping[str, Any]
    call: Call
    record: RequestRecord


class SharedAnswers:
    """Serves the requests that have a plan, over one engine."""

    def __init__(
        self,
        cache: AnswerCache,
        engine: Engine,
        gate: Gate,
        on_semantic_hit: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._engine = engine
        self._gate = gate
        self._on_semantic_hit = on_semantic_hit

    async def answer(self, asked: Asked) -> Pieces:
        """Yield the answer as the request wants it, and fill its record; errors as `Engine.run`."""
        plan, search = asked.plan, NO_SEARCH
        with asked.call.timed("cache"):
            kept = await self._cache.find(plan)
        flight = None if kept or plan.directives.no_cache else self._cache.find_flight(plan)
        if kept is None and flight is None and plan.question is not None:
            with asked.call.timed("semantic"):
                kept, search = await self._cache.find_twin(plan)
        if kept is not None:
            pieces = self._replay(kept, asked)
        elif flight is not None:
            pieces = _as_wanted(self._join(flight, asked), asked)
        elif plan.directives.only_if_cached:
            raise NotCached("The answer is not in the cache, and only-if-cached was asked for.")
        else:
            pieces = _as_wanted(self._make(asked, search), asked)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _replay(self, kept: Kept, asked: Asked) -> Pieces:
        recording = kept.recording
        if kept.tier is Tier.SEMANTIC:
            self._on_semantic_hit(Sample(asked.call.caller.tenant, asked.body, recording.pieces))
        async with self._gate.let_by(asked.call):
            asked.call.headers.update({**kept.headers(), **_replayed(asked.plan)})
            _note(asked.record, "hit", recording.tokens)
            asked.record.cache_tier, asked.record.saved_s = kept.tier, kept.saved_s
            created = int(time())
            for piece in _wanted_of(recording, asked):
                yield addressed(piece, response_id=asked.call.request_id, created=created)

    async def _join(self, flight: Flight, asked: Asked) -> Pieces:
        created, began = int(time()), False
        async with self._gate.let_by(asked.call) as lease:
            asked.call.headers["cache-status"] = status_of("fwd=miss; collapsed")
            asked.call.headers.update(_replayed(asked.plan))
            _note(asked.record, "collapsed", TokenCount())
            try:
                async with aclosing(flight.listen()) as pieces:
                    async for piece in pieces:
                        began = True
                        yield readdressed(piece, response_id=asked.call.request_id, created=created)
                return
            except _PERSONAL:
                if began:
                    raise
                await lease.release()
            finally:
                asked.record.tokens = flight.tokens_as_cached()
        # Who began it was refused; this caller may be let in.
        for name in _replayed(asked.plan):
            del asked.call.headers[name]
        async with aclosing(self._make(asked, NO_SEARCH)) as made:
            async for piece in made:
                yield piece

    async def _make(self, asked: Asked, search: Search) -> Pieces:
        reason = "request" if asked.plan.directives.no_cache else "miss"
        asked.call.headers["cache-status"] = status_of(f"fwd={reason}; stored")
        self._gate.check_room(asked.operation, asked.body, asked.call)
        record, job = asked.record, asked.parse()

        async def generate() -> Pieces:
            async with self._gate.let_in(job, asked.body, asked.call) as ticket:
                _note(record, "miss", job.tokens)
                record.times = job.times
                record.predicted_s = ticket.place.predicted_s
                async with aclosing(self._engine.run(ticket.job)) as pieces:
                    async for piece in pieces:
                        ticket.begin()
                        yield piece

        flight = self._cache.begin(asked.plan, job, generate, search)
        async with aclosing(flight.listen()) as pieces:
            async for piece in pieces:
                yield piece


async def _as_wanted(pieces: Pieces, asked: Asked) -> Pieces:
    """Chunks with or without usage, or the whole answer in one."""
    async with aclosing(pieces):
        if asked.body.get("stream") is True:
            wants_usage = _wants_usage(asked.body)
            async for piece in pieces:
                if wants_usage or not is_usage(piece):
                    yield piece
            return
        yield _assembled([piece async for piece in pieces], asked)


def _wanted_of(recording: Recording, asked: Asked) -> Sequence[bytes]:
    """The same of what is kept."""
    if asked.body.get("stream") is not True:
        return [recording.whole or _assembled(recording.pieces, asked)]
    if _wants_usage(asked.body):
        return recording.pieces
    return [piece for piece in recording.pieces if not is_usage(piece)]


def _assembled(pieces: Sequence[bytes], asked: Asked) -> bytes:
    assemble = asked.parse().assemble
    if assemble is None:
        raise RuntimeError("a request that has no whole answer came to the cache")
    return assemble(pieces)


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _replayed(plan: Plan) -> Mapping[str, str]:
    return REPLAYED if plan.is_pledged else {}


def _note(record: RequestRecord, status: str, tokens: TokenCount) -> None:
    record.let_in, record.cache_status, record.tokens = True, status, tokens
