"""The exact cache of answers: what is kept, and the generations that identical requests share."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.entry import Entry, Found, Tier
from phi3_bento.cache.flight import Flight, Flights, Generate
from phi3_bento.cache.plan import Kept, Plan
from phi3_bento.cache.pledge import check_pledge, conflict, pledged_key
from phi3_bento.cache.policy import (
    CACHED_OPERATIONS,
    Directives,
    identity_of,
    key_of,
    read_directives,
    scope_of,
    why_not_cached,
)
from phi3_bento.cache.replay import Recording, as_cached, pack, unpack
from phi3_bento.cache.semantic.question import question_of
from phi3_bento.cache.semantic.search import NO_SEARCH, Search
from phi3_bento.cache.semantic.tier import SemanticTier
from phi3_bento.cache.tiers import Tiers
from phi3_bento.cache.warm import WarmCache
from phi3_bento.call import Call
from phi3_bento.core import Job, Operation
from phi3_bento.engine.state import ModelCard
from phi3_bento.record import RequestRecord


class AnswerCache:
    """Answers of one served model; belongs to one event loop."""

    def __init__(
        self,
        tiers: Tiers,
        secret: bytes,
        *,
        ttl_s: float,
        is_on: bool = True,
        semantic: SemanticTier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tiers = tiers
        self.warm = WarmCache()
        self.semantic = semantic
        self._secret = secret
        self._ttl_s = ttl_s
        self.is_on = is_on
        self._clock = clock
        self._flights = Flights()
        self._clears = 0
        self._started_at = clock()
        self._results: Counter[str] = Counter()
        self._saved_s = 0.0

    def memory_bytes(self) -> dict[str, int]:
        """What kept answers take of this process's memory, by tier."""
        return {
            Tier.MEMORY.value: self._tiers.memory.bytes_used,
            Tier.WARM.value: self.warm.bytes_used,
        }

    def open(self, card: ModelCard) -> None:
        """Give the warm cache's answers of this model; call it before anything is kept."""
        self.warm.keep_only(card)
        self._tiers.memory.give_up(self.warm.bytes_used)

    def plan(
        self, operation: Operation, body: Mapping[str, Any], call: Call, card: ModelCard
    ) -> Plan | None:
        """None where the cache has no part in the request. Raises `InvalidRequest`."""
        directives = read_directives(call.cache_control)
        if call.idempotency_key is not None and operation in CACHED_OPERATIONS:
            check_pledge(operation, body, directives, is_on=self.is_on)
            scope = scope_of(self._secret, call.caller.tenant)
            key = pledged_key(scope, call.idempotency_key)
            identity = identity_of(operation, body, card)
            return Plan(key, scope, identity, Directives(), call.is_idle, is_pledged=True)
        if not self.is_on or why_not_cached(operation, body, directives) is not None:
            return None
        scope = scope_of(self._secret, call.caller.tenant)
        identity = identity_of(operation, body, card)
        question = None
        if self.semantic is not None and call.wants_semantic_cache:
            question = question_of(operation, body, card, scope)
        key = key_of(scope, identity)
        return Plan(key, scope, identity, directives, call.is_idle, question)

    async def find(self, plan: Plan) -> Kept | None:
        """The answer that is kept, if it is as young as the request wants. Raises `KeyReused`."""
        if plan.directives.no_cache:
            return None
        return next(filter(plan.allows, await self.look(plan, is_use=True)), None)

    async def look(self, plan: Plan, *, is_use: bool) -> list[Kept]:
        """The tenant's own answer and the warm cache's, as far as there are such, of any age.

        With `is_use` False nothing is counted or moved: somebody only looks.
        """
        found = (await self._tiers.get(plan.key, is_use=is_use), self.warm.find(plan.identity))
        return [kept for each in found if each and (kept := self._read(each, plan))]

    async def find_twin(self, plan: Plan) -> tuple[Kept | None, Search]:
        """An answer to a question that means the same, if the request takes one; and the search."""
        if self.semantic is None or plan.question is None or plan.directives.no_cache:
            return None, NO_SEARCH
        search = await self.semantic.search(plan.question)
        for twin in search.twins:
            found = await self._tiers.get(twin.key)
            if found is None:
                await self.semantic.index.forget(twin.key)
                continue
            kept = self._kept(found, Tier.SEMANTIC, unpack(found.entry.body))
            if plan.allows(kept):
                return kept, search
        return None, search

    def find_flight(self, plan: Plan) -> Flight | None:
        """The generation of this very answer that runs now, if the request should wait for it.

        One that waits at idle priority would hold up who is in a hurry. Raises `KeyReused`.
        """
        flight = self._flights.find(plan.key)
        if flight is not None and plan.is_pledged:
            if flight.identity != plan.identity:
                raise conflict()
            return flight
        if flight is None or plan.is_idle or not flight.is_idle or flight.pieces:
            return flight
        return None

    def begin(self, plan: Plan, job: Job, generate: Generate, search: Search = NO_SEARCH) -> Flight:
        """Generate the answer, for all who ask for it meanwhile, and keep it.

        `search`: what `find_twin` has found for it.
        """
        started_at, clears = self._clock(), self._clears

        def keep(pieces: list[bytes]) -> None:
            if clears != self._clears:  # what was begun before may be what was to be forgotten
                return
            now = self._clock()
            whole = as_cached(job.assemble(pieces)) if job.assemble else b""
            kept = [as_cached(piece) for piece in pieces]
            body = pack(Recording(plan.identity, kept, job.tokens, whole))
            entry = Entry(body, now, self._ttl_s, (now - started_at) * 1000)
            self._tiers.put(plan.key, entry, plan.scope)
            if self.semantic is not None and plan.question is not None:
                self.semantic.note(plan.question, search, plan.key, self._ttl_s)

        flight = self._flights.begin(plan.key, job.tokens, generate, keep, is_idle=plan.is_idle)
        flight.identity = plan.identity
        return flight

    def observe(self, record: RequestRecord) -> None:
        """Count what became of a request, for `statistics`."""
        result = record.cache_tier or record.cache_status
        if result is not None:
            self._results[result] += 1
            self._saved_s += record.saved_s

    async def clear(self, tenant: str | None) -> int:
        """Forget a tenant's answers, or all (None); returns how many there were.

        The warm cache stays. Raises `StoreFailure` where the store could not be cleared.
        """
        self._clears += 1
        scope = None if tenant is None else scope_of(self._secret, tenant)
        if self.semantic is not None:
            await self.semantic.index.clear(scope)
        return await self._tiers.clear(scope)

    async def forget(self, plan: Plan) -> None:
        """Keep the answer of `plan` no longer."""
        self._tiers.forget(plan.key)
        if self.semantic is not None:
            await self.semantic.index.forget(plan.key)

    async def statistics(self) -> dict[str, Any]:
        """What is kept, and what it was good for since the start, as JSON."""
        memory, results = self._tiers.memory, self._results
        return {
            "on": self.is_on,
            "since": int(self._started_at),
            "memory": {
                "entries": len(memory),
                "bytes": memory.bytes_used,
                "cap_bytes": memory.cap_bytes,
            },
            "store": await self._measured_store(),
            "warm": {"entries": len(self.warm), "bytes": self.warm.bytes_used},
            "hits": {tier.value: results[tier] for tier in Tier},
            "collapsed": results["collapsed"],
            "misses": results["miss"],
            "saved_seconds": round(self._saved_s, 3),
            "alerts": dict(self._tiers.alerts),
            "semantic": self.semantic and self.semantic.statistics(),
        }

    async def close(self) -> None:
        """Write what is pending."""
        await self._tiers.close()
        if self.semantic is not None:
            await self.semantic.close()

    async def _measured_store(self) -> dict[str, Any] | None:
        try:
            size = await self._tiers.measure_store()
        except StoreFailure as error:
            return {"error": str(error)}
        return None if size is None else {"entries": size.entries, "bytes": size.bytes}

    def _read(self, found: Found, plan: Plan) -> Kept | None:
        """The answer, if it is to this question; else it is forgotten."""
        recording = unpack(found.entry.body)
        if recording.identity != plan.identity:
            if plan.is_pledged:
                raise conflict()
            self._tiers.reject(plan.key, "foreign")
            return None
        return self._kept(found, found.tier, recording)

    def _kept(self, found: Found, tier: Tier, recording: Recording) -> Kept:
        entry = found.entry
        age_s = entry.age_s(self._clock())
        # The warm cache's answers do not grow old: their identity names the model's revision.
        left_s = entry.ttl_s if tier is Tier.WARM else max(0.0, entry.ttl_s - age_s)
        return Kept(recording, tier, age_s, left_s, entry.engine_ms / 1000)
