"""Counts what has ended: batches of requests into the metrics, each series touched once a batch."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from phi3_bento.call import Exchange
from phi3_bento.record import Fault, RequestRecord
from phi3_bento.usage.batch_histogram import BatchHistogram
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.reporter import Batch

LIGHT_PROMPT_TOKENS = 32
"""As many new prompt tokens a light operation has at most."""

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
"""Methods that have a label of their own; a client may send any other word."""

_DOOR, _PIPELINE = "door", "pipeline"


class Tally:
    """A listener of the `Reporter`: counts into `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, batch: Batch) -> None:
        """Count a batch."""
        if batch.records:
            self._count_requests(batch.records)
            self._count_cache(batch.records)
            self._time_requests(batch.records)
        if batch.exchanges:
            self._count_exchanges(batch.exchanges)

    def _count_requests(self, records: Iterable[RequestRecord]) -> None:
        metrics = self._metrics
        ended = Counter((record.operation, record.outcome, record.fault) for record in records)
        for labels, count in ended.items():
            metrics.requests.labels(*labels).inc(count)
        refused = [r for r in records if not r.let_in and r.fault is not Fault.NONE]
        for (reason, fault), count in Counter((r.outcome, r.fault) for r in refused).items():
            metrics.refusals.labels(_PIPELINE, reason, fault).inc(count)
        for limit, count in Counter(r.limit for r in records if r.limit).items():
            metrics.limit_refusals.labels(limit).inc(count)
        for kind in ("prompt", "cached", "completion"):
            tokens = sum(getattr(record.tokens, kind) for record in records if record.let_in)
            metrics.tokens.labels(kind).inc(tokens)

    def _count_cache(self, records: Iterable[RequestRecord]) -> None:
        metrics = self._metrics
        results = Counter(record.cache_status for record in records if record.cache_status)
        for result, count in results.items():
            metrics.cache_results.labels(result).inc(count)
        for tier, count in Counter(r.cache_tier for r in records if r.cache_tier).items():
            metrics.cache_hits.labels(tier).inc(count)
        if saved_s := sum(record.saved_s for record in records):
            metrics.cache_saved.inc(saved_s)

    def _time_requests(self, records: Iterable[RequestRecord]) -> None:
        metrics = self._metrics
        times = _Times()
        for record in records:
            operation = record.operation.value
            times.add(metrics.duration, operation, record.seconds)
            times.add(metrics.time_to_first_piece, operation, record.seconds_to_first_piece)
            times.add(metrics.prediction_error, None, record.prediction_error_s)
            if (kind := light_kind(record)) is not None:
                times.add(metrics.light_requests, kind, record.seconds_to_first_piece)
            if record.times is not None:
                for phase, begin, end in record.times.phases():
                    times.add(metrics.engine_phases, phase, end - begin)
        times.observe()

    def _count_exchanges(self, exchanges: Iterable[Exchange]) -> None:
        metrics = self._metrics
        answered: Counter[tuple[str, str, str]] = Counter()
        times = _Times()
        for exchange in exchanges:
            method = exchange.method if exchange.method in _METHODS else "other"
            answered[exchange.route, method, f"{exchange.status // 100}xx"] += 1
            times.add(metrics.http_duration, (exchange.route, method), exchange.seconds)
            for stage, begin, end in exchange.call.spans:
                if stage != "engine":
                    times.add(metrics.stages, stage, end - begin)
            if exchange.refusal is not None and not exchange.call.records:
                self._count_refusal(exchange)
        for labels, count in answered.items():
            metrics.http_requests.labels(*labels).inc(count)
        times.observe()

    def _count_refusal(self, exchange: Exchange) -> None:
        error = exchange.refusal
        if error is None:
            return
        fault = Fault.SERVICE if error.is_ours else Fault.CLIENT
        self._metrics.refusals.labels(_DOOR, error.code or error.type, fault).inc()
        if (limit := getattr(error, "limit", None)) is not None:
            self._metrics.limit_refusals.labels(limit).inc()


class _Times:
    """Values for histograms, until all are known."""

    def __init__(self) -> None:
        self._values: defaultdict[
            tuple[BatchHistogram, str | tuple[str, ...] | None], list[float]
        ] = defaultdict(list)

    def add(
        self, histogram: BatchHistogram, label: str | tuple[str, ...] | None, value: float | None
    ) -> None:
        """`label` None: the histogram has none. `value` None: there is nothing to add."""
        if value is not None:
            self._values[histogram, label].append(value)

    def observe(self) -> None:
        for (histogram, label), values in self._values.items():
            labels = (label,) if isinstance(label, str) else label
            series = histogram.labels(*labels) if labels else histogram
            series.observe_all(values)


def light_kind(record: RequestRecord) -> str | None:
    """Which kind of light operation it was, that the objective of 300 ms is about; None: none."""
    if record.outcome != "ok" or not record.operation.is_generation:
        return None
    if record.cache_status == "hit":
        return "hit"
    if record.cache_status == "collapsed":
        return None
    tokens = record.tokens
    if tokens.prompt - tokens.cached > LIGHT_PROMPT_TOKENS:
        return None
    if record.stream:
        return "first_token"
    return "decision" if tokens.completion <= 1 else None
