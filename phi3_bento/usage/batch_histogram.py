"""A histogram that takes many values at the price of a few, and the buckets of ours."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram

LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Fine around the objective of 300 ms; vLLM's own buckets start there and hide it."""

OBJECTIVE_BUCKETS_S = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1.0, 2.5, 10.0)
STAGE_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 1.0, 5.0, 30.0, 120.0)
LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class BatchHistogram(Histogram):
    """Prometheus' own, with one method more."""

    def observe_all(self, values: Sequence[float]) -> None:
        """As `observe` with each of `values`."""
        found = Counter(bisect_left(self._upper_bounds, value) for value in values)
        for bucket, count in found.items():
            self._buckets[bucket].inc(count)
        self._sum.inc(sum(values))
