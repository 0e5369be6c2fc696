"""Who sends requests, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may be used for."""

    INFERENCE = "inference"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Quota:
    """What a key may use; None: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and what they may do: the key that admission has recognised."""

    tenant: str
    key_id: str
    """Public name of the key; never the secret."""
    scopes: frozenset[Scope] = frozenset(Scope)
    models: frozenset[str] | None = None
    """Names of the models that may be asked; None: all."""
    quota: Quota = Quota()
    priority: int = 0
    """Waiting work of a higher priority runs first."""
    slo_ttft_ms: int | None = None
    """The default deadline of a request to its first token; None: no deadline."""
    semantic_cache: bool = False
    """A question that means the same as an earlier one may get its answer."""


LOCAL_CALLER = Caller(tenant="local", key_id="local")
"""Whoever sits at this very machine, where the service is open."""
