"""The exact cache of answers: what is kept, and the generations that identical requests share."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from phi3_bento.cache.entry import Entry
from phi3_bento.cache.flight import Flight, Flights, Generate
from phi3_bento.cache.policy import (
    Directives,
    identity_of,
    key_of,
    may_be_cached,
    read_directives,
    scope_of,
    status_of,
)
from phi3_bento.cache.replay import pack, unpack
from phi3_bento.cache.tiers import Tiers
from phi3_bento.core import Call, Job, ModelCard, Operation, TokenCount


@dataclass(frozen=True, slots=True)
class Plan:
    """How the cache takes part in one request."""

    key: str
    scope: str
    directives: Directives


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was kept."""

    pieces: list[bytes]
    tokens: TokenCount
    age_s: float
    ttl_s: float

    def headers(self) -> dict[str, str]:
        """RFC 9211 and RFC 9111."""
        left_s = max(0, int(self.ttl_s - self.age_s))
        return {
            "cache-status": status_of(f"hit; ttl={left_s}"),
            "age": str(max(0, int(self.age_s))),
        }


class AnswerCache:
    """Answers of one served model; belongs to one event loop."""

    def __init__(
        self,
        tiers: Tiers,
        secret: bytes,
        *,
        ttl_s: float,
        is_on: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tiers = tiers
        self._secret = secret
        self._ttl_s = ttl_s
        self._is_on = is_on
        self._clock = clock
        self._flights = Flights()

    def plan(
        self, operation: Operation, body: Mapping[str, Any], call: Call, card: ModelCard
    ) -> Plan | None:
        """None where the cache has no part in the request. Raises `InvalidRequest`."""
        directives = read_directives(call.cache_control)
        if not self._is_on or not may_be_cached(operation, body, directives):
            return None
        scope = scope_of(self._secret, call.caller.tenant)
        return Plan(key_of(scope, identity_of(operation, body, card)), scope, directives)

    async def find(self, plan: Plan) -> Kept | None:
        """The answer that is kept, if it is as young as the request wants."""
        if plan.directives.no_cache:
            return None
        entry = await self._tiers.get(plan.key)
        if entry is None:
            return None
        age_s = entry.age_s(self._clock())
        if plan.directives.max_age_s is not None and age_s > plan.directives.max_age_s:
            return None
        pieces, tokens = unpack(entry.body)
        return Kept(pieces, tokens, age_s, entry.ttl_s)

    def find_flight(self, plan: Plan) -> Flight | None:
        """The generation of this very answer that runs now."""
        return self._flights.find(plan.key)

    def begin(self, plan: Plan, job: Job, generate: Generate) -> Flight:
        """Generate the answer, for all who ask for it meanwhile, and keep it."""
        started_at = self._clock()

        def keep(pieces: list[bytes]) -> None:
            now = self._clock()
            entry = Entry(pack(pieces, job.tokens), now, self._ttl_s, (now - started_at) * 1000)
            self._tiers.put(plan.key, entry, plan.scope)

        return self._flights.begin(plan.key, job.tokens, generate, keep)

    async def close(self) -> None:
        """Write what is pending."""
        await self._tiers.close()
