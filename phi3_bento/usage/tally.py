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
        # Dictionaries by hand, and no method for each count: this is a part of every hit's time.
        metrics, counts = self._metrics, self._heard.counts
        fault = record.fault.value
        counts[metrics.requests, (record.operation.value, record.outcome, fault)] += 1
        if record.let_in:
            tokens = record.tokens
            counts[metrics.tokens, ("prompt",)] += tokens.prompt
            counts[metrics.tokens, ("cached",)] += tokens.cached
            counts[metrics.tokens, ("completion",)] += tokens.completion
        elif record.fault is not Fault.NONE:
            counts[metrics.refusals, (_PIPELINE, record.outcome, fault)] += 1
        if record.limit:
            counts[metrics.limit_refusals, (record.limit,)] += 1
        if record.cache_status:
            counts[metrics.cache_results, (record.cache_status,)] += 1
        if record.cache_tier:
            counts[metrics.cache_hits, (record.cache_tier,)] += 1
        if record.saved_s:
            counts[metrics.cache_saved, ()] += record.saved_s

    def _time_request(self, record: RequestRecord) -> None:
        metrics, times = self._metrics, self._heard.times
        operation = (record.operation.value,)
        times[metrics.duration, operation].append(record.seconds)
        if (first_s := record.seconds_to_first_piece) is not None:
            times[metrics.time_to_first_piece, operation].append(first_s)
            if (kind := light_kind(record)) is not None:
                times[metrics.light_requests, (kind,)].append(first_s)
        if (error_s := record.prediction_error_s) is not None:
            times[metrics.prediction_error, ()].append(error_s)
        if record.times is not None:
            for phase, begin, end in record.times.phases():
                times[metrics.engine_phases, (phase,)].append(end - begin)

    def _count_exchange(self, exchange: Exchange) -> None:
        metrics, counts, times = self._metrics, self._heard.counts, self._heard.times
        method = exchange.method if exchange.method in _METHODS else "other"
        status = f"{exchange.status // 100}xx"
        counts[metrics.http_requests, (exchange.route, method, status)] += 1
        times[metrics.http_duration, (exchange.route, method)].append(exchange.seconds)
        for stage, begin, end in exchange.call.spans:
            if stage != "engine":
                times[metrics.stages, (stage,)].append(end - begin)
        error = exchange.refusal
        if error is not None and not exchange.call.records:
            reason, fault = error.code or error.type, Fault.of(error).value
            counts[metrics.refusals, (_DOOR, reason, fault)] += 1
            if (limit := getattr(error, "limit", None)) is not None:
                counts[metrics.limit_refusals, (limit,)] += 1


class _Heard:
    """Counts and times by series, until they are told."""

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[Counter, _Labels], float] = defaultdict(float)
        self.times: defaultdict[tuple[BatchHistogram, _Labels], list[float]] = defaultdict(list)

    def tell(self) -> None:
        """Touch each series once, which is dear: all processes of the service share its value."""
        for (counter, labels), amount in self.counts.items():
            (counter.labels(*labels) if labels else counter).inc(amount)
        for (histogram, labels), values in self.times.items():
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
