"""Counts what has ended, in memory; then into the metrics, each series touched once for many."""

from collections import defaultdict
from collections.abc import Callable

from prometheus_client import Counter

from phi3_bento.call import Exchange
from phi3_bento.record import Fault, RequestRecord
from phi3_bento.usage.batch_histogram import BatchHistogram
from phi3_bento.usage.metrics import Metrics

LIGHT_PROMPT_TOKENS = 32
"""As many new prompt tokens a light operation has at most."""

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
"""Methods that have a label of their own; a client may send any other word."""

_DOOR, _PIPELINE = "door", "pipeline"

_Labels = tuple[str, ...]


class Tally:
    """A listener of the `Reporter`: counts into `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._heard = _Heard()

    def hear(self, what: RequestRecord | Exchange) -> None:
        """Count it, in memory of this process alone."""
        if isinstance(what, Exchange):
            self._count_exchange(what)
        else:
            self._count_request(what)
            self._time_request(what)

    def take(self) -> Callable[[], None]:
        """Hand over what was counted: a call that adds it to the metrics."""
        heard, self._heard = self._heard, _Heard()
        return heard.tell

    def _count_request(self, record: RequestRecord) -> None:
        metrics, count = self._metrics, self._heard.count
        fault = record.fault.value
        count(metrics.requests, (record.operation.value, record.outcome, fault))
        if record.let_in:
            tokens = record.tokens
            count(metrics.tokens, ("prompt",), tokens.prompt)
            count(metrics.tokens, ("cached",), tokens.cached)
            count(metrics.tokens, ("completion",), tokens.completion)
        elif record.fault is not Fault.NONE:
            count(metrics.refusals, (_PIPELINE, record.outcome, fault))
        if record.limit:
            count(metrics.limit_refusals, (record.limit,))
        if record.cache_status:
            count(metrics.cache_results, (record.cache_status,))
        if record.cache_tier:
            count(metrics.cache_hits, (record.cache_tier,))
        if record.saved_s:
            count(metrics.cache_saved, (), record.saved_s)

    def _time_request(self, record: RequestRecord) -> None:
        metrics, time = self._metrics, self._heard.time
        operation = (record.operation.value,)
        first_s = record.seconds_to_first_piece
        time(metrics.duration, operation, record.seconds)
        time(metrics.time_to_first_piece, operation, first_s)
        time(metrics.prediction_error, (), record.prediction_error_s)
        if (kind := light_kind(record)) is not None:
            time(metrics.light_requests, (kind,), first_s)
        if record.times is not None:
            for phase, begin, end in record.times.phases():
                time(metrics.engine_phases, (phase,), end - begin)

    def _count_exchange(self, exchange: Exchange) -> None:
        metrics, count, time = self._metrics, self._heard.count, self._heard.time
        method = exchange.method if exchange.method in _METHODS else "other"
        count(metrics.http_requests, (exchange.route, method, f"{exchange.status // 100}xx"))
        time(metrics.http_duration, (exchange.route, method), exchange.seconds)
        for stage, begin, end in exchange.call.spans:
            if stage != "engine":
                time(metrics.stages, (stage,), end - begin)
        error = exchange.refusal
        if error is not None and not exchange.call.records:
            fault = Fault.SERVICE if error.is_ours else Fault.CLIENT
            count(metrics.refusals, (_DOOR, error.code or error.type, fault.value))
            if (limit := getattr(error, "limit", None)) is not None:
                count(metrics.limit_refusals, (limit,))


class _Heard:
    """Counts and times by series, until they are told."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[Counter, _Labels], float] = defaultdict(float)
        self._times: defaultdict[tuple[BatchHistogram, _Labels], list[float]] = defaultdict(list)

    def count(self, counter: Counter, labels: _Labels, amount: float = 1) -> None:
        self._counts[counter, labels] += amount

    def time(self, histogram: BatchHistogram, labels: _Labels, seconds: float | None) -> None:
        """None: there is nothing to add."""
        if seconds is not None:
            self._times[histogram, labels].append(seconds)

    def tell(self) -> None:
        """Touch each series once, which is dear: all processes of the service share its value."""
        for (counter, labels), amount in self._counts.items():
            (counter.labels(*labels) if labels else counter).inc(amount)
        for (histogram, labels), values in self._times.items():
            (histogram.labels(*labels) if labels else histogram).observe_all(values)


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
