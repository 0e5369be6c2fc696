"""Why a request would be answered from the cache now, or would not; in words, for an operator."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import orjson

from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.plan import Kept, Plan
from phi3_bento.cache.policy import Directives, read_directives, why_not_cached
from phi3_bento.cache.semantic.search import Search
from phi3_bento.call import Call
from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard


class Decision(StrEnum):
    """What the cache would make of a request."""

    HIT = "hit"
    COLLAPSED = "collapsed"
    MISS = "miss"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen, and why; nothing of an answer's text."""

    decision: Decision
    reason: str
    directives: Directives
    plan: Plan | None = None
    kept: Sequence[Kept] = ()
    """What there is, whether it may be given or not; the tenant's own first."""
    search: Search | None = None
    """Of the semantic cache, where the request takes part in it and nothing is kept."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        plan = self.plan
        return {
            "decision": self.decision,
            "reason": self.reason,
            "directives": asdict(self.directives),
            "key": plan and plan.key,
            "identity": plan and orjson.loads(plan.identity),
            "kept": [
                {
                    "in": kept.tier,
                    "age_s": round(kept.age_s, 3),
                    "ttl_s": round(kept.left_s, 3),
                    "engine_s": round(kept.saved_s, 3),
                }
                for kept in self.kept
            ],
            "semantic": self.search
            and {
                "nearest": self.search.nearest,
                "refused_by": self.search.refused_by,
                "twins": len(self.search.twins),
            },
        }


async def explain(
    cache: AnswerCache, operation: Operation, body: Mapping[str, Any], call: Call, card: ModelCard
) -> Explanation:
    """What the cache would make of the checked request `body`; changes and generates nothing.

    Raises `InvalidRequest` as the request would.
    """
    directives = read_directives(call.cache_control)
    plan = cache.plan(operation, body, call, card)
    if plan is None:
        off = None if cache.is_on else "The cache is off (PHI3_CACHE)."
        reason = off or why_not_cached(operation, body, directives) or ""
        return Explanation(Decision.BYPASS, reason, directives)
    kept = await cache.look(plan, is_use=False)
    is_in_flight = cache.find_flight(plan) is not None
    decision, reason = _decide(plan, kept, is_in_flight=is_in_flight)
    if decision is not Decision.MISS or plan.question is None:
        return Explanation(decision, reason, directives, plan, kept)
    twin, search = await cache.find_twin(plan)
    if twin is not None:
        decision = Decision.HIT
        reason = f"A question that means the same has an answer ({search.nearest:.3f} alike)."
    return Explanation(decision, reason, directives, plan, kept, search)


def _decide(plan: Plan, kept: Sequence[Kept], *, is_in_flight: bool) -> tuple[Decision, str]:
    """The way that `SharedAnswers` goes, in words."""
    why, asked = _why_missing(plan, kept), plan.directives
    if not asked.no_cache:
        given = next(filter(plan.allows, kept), None)
        if given is not None:
            return Decision.HIT, f"It is kept: {given.tier}, {given.age_s:.0f} s old."
        if is_in_flight:
            return Decision.COLLAPSED, "The same is being generated now, and is shared."
    if asked.only_if_cached:
        return Decision.MISS, f"{why} The request says only-if-cached, and gets 504."
    return Decision.MISS, why


def _why_missing(plan: Plan, kept: Sequence[Kept]) -> str:
    if plan.directives.no_cache:
        return "The request says no-cache."
    if not kept:
        return "Nothing is kept under this key."
    youngest_s = min(each.age_s for each in kept)
    return (
        f"What is kept is {youngest_s:.0f} s old, and the request takes at most "
        f"{plan.directives.max_age_s} s."
    )
