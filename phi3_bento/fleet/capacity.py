"""How many replicas a load needs: arithmetic from measured speeds, pure."""

from dataclasses import dataclass
from math import ceil

BUSY_SHARE = 0.7
"""Of a replica's time that may be planned with: beyond it, waiting grows out of hand."""

HIT_S = 1 / 2088
"""Seconds that a cache hit takes two cores: 2,088 hits a second (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one replica does, with several streams at once; tokens a second."""

    prefill: float
    decode: float
    """All streams together."""

    def times(self, replicas: int) -> "Speed":
        """That of several."""
        return Speed(self.prefill * replicas, self.decode * replicas)


FULL_SIZE_TWO_CORES = Speed(prefill=160.0, decode=56.0)
"""Phi-3-Mini's shape in INT8 on two cores, 8 streams at once (docs/load-balancing.md)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A load."""

    requests_per_s: float
    hit_share: float
    """Of requests that the cache answers, from 0 to 1."""
    prompt_tokens: float
    """Of a request that it does not answer: those that the KV cache does not hold."""
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a demand needs."""

    engine_s: float
    """Seconds of one replica for a request that the cache does not answer."""
    mean_s: float
    """Of one replica for a request, hits among them."""
    requests_per_s: float
    """What one replica answers at `BUSY_SHARE`."""
    replicas: int


def need_of(demand: Demand, speed: Speed) -> Need:
    """How many replicas of this speed the demand needs."""
    engine_s = demand.prompt_tokens / speed.prefill + demand.output_tokens / speed.decode
    mean_s = (1 - demand.hit_share) * engine_s + demand.hit_share * HIT_S
    mean_s = max(mean_s, HIT_S)
    return Need(
        engine_s=engine_s,
        mean_s=mean_s,
        requests_per_s=BUSY_SHARE / mean_s,
        replicas=max(1, ceil(round(demand.requests_per_s * mean_s / BUSY_SHARE, 6))),
    )
