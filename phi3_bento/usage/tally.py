"""Counts what has ended, in memory; then into the metrics, each series touched once for many."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter

from phi3_bento.call import Exchange
from phi3_bento.core import TokenCount
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
        self._heard = _Heard(metrics)

    def hear(self, what: RequestRecord | Exchange) -> None:
        """Count it, in memory of this process alone."""
        if isinstance(what, Exchange):
            self._heard.add_exchange(what)
        else:
            self._heard.add_request(what)

    def take(self) -> Callable[[], None]:
        """Hand over what was counted: a call that adds it to the metrics."""
        heard, self._heard = self._heard, _Heard(self._metrics)
        return heard.tell


@dataclass(slots=True)
class _Alike:
    """Requests that count in the same series, and what is different about them.

    One lookup for a request instead of one for each series: this is a part of every hit's time.
    """

    operation: str
    outcome: str
    fault: Fault
    limit: str | None
    cache_status: str | None
    cache_tier: str | None
    light_kind: str | None
    let_in: bool
    tokens: TokenCount = field(default_factory=TokenCount)
    saved_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    first_piece_s: list[float] = field(default_factory=list)

    def add(self, record: RequestRecord) -> None:
        self.seconds.append(record.seconds)
        if (first_s := record.seconds_to_first_piece) is not None:
            self.first_piece_s.append(first_s)
        self.saved_s += record.saved_s
        if self.let_in:
            self.tokens.prompt += record.tokens.prompt
            self.tokens.cached += record.tokens.cached
            self.tokens.completion += record.tokens.completion


class _Heard:
    """What was heard of, until it is told."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._alike: dict[tuple[object, ...], _Alike] = {}
        self._http_s: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        self._counts: defaultdict[tuple[Counter, _Labels], float] = defaultdict(float)
        self._times: defaultdict[tuple[BatchHistogram, _Labels], list[float]] = defaultdict(list)

    def add_request(self, record: RequestRecord) -> None:
        way = (
            record.operation,
            record.outcome,
            record.fault,
            record.limit,
            record.cache_status,
            record.cache_tier,
            light_kind(record),
            record.let_in,
        )
        alike = self._alike.get(way)
        if alike is None:
            alike = self._alike[way] = _Alike(*way)
        alike.add(record)
        if (error_s := record.prediction_error_s) is not None:
            self._times[self._metrics.prediction_error, ()].append(error_s)
        if record.times is not None:
            for phase, begin, end in record.times.phases():
                self._times[self._metrics.engine_phases, (phase,)].append(end - begin)

    def add_exchange(self, exchange: Exchange) -> None:
        self._http_s[exchange.route, exchange.method, exchange.status].append(exchange.seconds)
        for stage, begin, end in exchange.call.spans:
            if stage != "engine":
                self._times[self._metrics.stages, (stage,)].append(end - begin)
        error = exchange.refusal
        if error is not None and not exchange.call.records:
            reason, fault = error.code or error.type, Fault.of(error).value
            self._counts[self._metrics.refusals, (_DOOR, reason, fault)] += 1
            if (limit := getattr(error, "limit", None)) is not None:
                self._counts[self._metrics.limit_refusals, (limit,)] += 1

    def tell(self) -> None:
        """Touch each series once, which is dear: all processes of the service share its value."""
        for alike in self._alike.values():
            self._count(alike)
            self._time(alike)
        for (route, method, status), values in self._http_s.items():
            known = method if method in _METHODS else "other"
            answers = (route, known, f"{status // 100}xx")
            self._counts[self._metrics.http_requests, answers] += len(values)
            self._times[self._metrics.http_duration, (route, known)] += values
        for (counter, labels), amount in self._counts.items():
            (counter.labels(*labels) if labels else counter).inc(amount)
        for (histogram, labels), values in self._times.items():
            (histogram.labels(*labels) if labels else histogram).observe_all(values)

    def _count(self, alike: _Alike) -> None:
        metrics, counts, number = self._metrics, self._counts, len(alike.seconds)
        outcome, fault = alike.outcome, alike.fault
        counts[metrics.requests, (alike.operation, outcome, fault)] += number
        if alike.let_in:
            counts[metrics.tokens, ("prompt",)] += alike.tokens.prompt
            counts[metrics.tokens, ("cached",)] += alike.tokens.cached
            counts[metrics.tokens, ("completion",)] += alike.tokens.completion
        elif fault is not Fault.NONE:
            counts[metrics.refusals, (_PIPELINE, outcome, fault)] += number
        if alike.limit:
            counts[metrics.limit_refusals, (alike.limit,)] += number
        if alike.cache_status:
            counts[metrics.cache_results, (alike.cache_status,)] += number
        if alike.cache_tier:
            counts[metrics.cache_hits, (alike.cache_tier,)] += number
        if alike.saved_s:
            counts[metrics.cache_saved, ()] += alike.saved_s

    def _time(self, alike: _Alike) -> None:
        metrics, times = self._metrics, self._times
        times[metrics.duration, (alike.operation,)] += alike.seconds
        if alike.first_piece_s:
            times[metrics.time_to_first_piece, (alike.operation,)] += alike.first_piece_s
            if alike.light_kind is not None:
                times[metrics.light_requests, (alike.light_kind,)] += alike.first_piece_s


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
