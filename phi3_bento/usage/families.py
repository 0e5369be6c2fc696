"""How metric families are made; `metrics.py` says which."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from phi3_bento.usage.batch_histogram import LATENCY_BUCKETS_S, BatchHistogram


class Families:
    """Makes families of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str, mode: str = "livemax") -> Gauge:
        return Gauge(name, meaning, labels, multiprocess_mode=mode, registry=self._registry)  # type: ignore[arg-type]

    def _histogram(
        self, name: str, meaning: str, *labels: str, buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> BatchHistogram:
        return BatchHistogram(name, meaning, labels, buckets=buckets, registry=self._registry)
