"""How the cache takes part in one request, and the answer that it has for it."""

from dataclasses import dataclass

from phi3_bento.cache.entry import Tier
from phi3_bento.cache.policy import Directives, status_of
from phi3_bento.cache.replay import Recording
from phi3_bento.cache.semantic.question import Question


@dataclass(frozen=True, slots=True)
class Plan:
    """How the cache takes part in one request."""

    key: str
    scope: str
    identity: bytes
    directives: Directives
    is_idle: bool = False
    question: Question | None = None
    """Where an answer to another question that means the same will do."""
    is_pledged: bool = False
    """The key is an Idempotency-Key's: another request under it is an error."""

    def allows(self, kept: "Kept") -> bool:
        """It is as young as the request wants."""
        most_s = self.directives.max_age_s
        return most_s is None or kept.age_s <= most_s


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was kept."""

    recording: Recording
    tier: Tier
    age_s: float
    left_s: float
    """Seconds for which it will still be given."""
    saved_s: float
    """Seconds that it took to make."""

    def headers(self) -> dict[str, str]:
        """RFC 9211 and RFC 9111."""
        is_own = self.tier in (Tier.MEMORY, Tier.STORE)
        detail = "" if is_own else f"; detail={self.tier}"
        return {
            "cache-status": status_of(f"hit; ttl={int(self.left_s)}{detail}"),
            "age": str(int(self.age_s)),
        }
