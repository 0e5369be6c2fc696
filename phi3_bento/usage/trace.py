"""Traces: what a request did and when, as OpenTelemetry spans that are made when it has ended.

A request gathers times as it goes; spans are made of them afterwards, by the reporter's thread.
So a request that nobody traces pays nothing, and what went wrong or took long is always kept.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from phi3_bento import __version__
from phi3_bento.call import Call, Exchange
from phi3_bento.core import Operation
from phi3_bento.record import Fault, RequestRecord
from phi3_bento.trace_context import TraceContext, new_span_id

SLOW_S = 0.3
"""The objective: what takes longer is worth its trace."""

_PATH = "/v1/traces"
_OPERATIONS = {Operation.CHAT: "chat", Operation.COMPLETION: "text_completion"}
"""Names of the GenAI conventions; other operations keep their own."""

_SCOPE = InstrumentationScope("phi3-bento", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Tracing:
    """A listener of the `Reporter`: sends spans of requests to an OTLP collector over HTTP.

    `share` of the requests whose sender has not decided are kept, by their trace's id, so that all
    replicas keep the same; beside them those that failed here or were slow.
    """

    def __init__(self, endpoint: str, *, share: float) -> None:
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH)
        self._processor = BatchSpanProcessor(exporter)
        self._share = share
        self._kept: list[Exchange] = []
        self._resource = Resource.create(
            {"service.name": "phi3-bento", "service.version": __version__}
        )

    def announce(self, call: Call) -> None:
        """Say in the response which trace it belongs to (W3C's `traceresponse`).

        Not where nobody has named one and it is not chosen: then there is no trace to look for.
        """
        is_chosen = self._is_chosen(call.trace)
        if is_chosen or call.trace.parent_id is not None:
            call.headers["traceresponse"] = call.trace.header(is_sampled=is_chosen)

    def hear(self, what: RequestRecord | Exchange) -> None:
        """Keep it, if its trace is one to keep."""
        if isinstance(what, Exchange) and self._is_kept(what):
            self._kept.append(what)

    def take(self) -> Callable[[], None]:
        """Hand over what was kept: a call that sends its spans."""
        kept, self._kept = self._kept, []
        return lambda: self._send(kept)

    def _send(self, exchanges: Sequence[Exchange]) -> None:
        # The clock of a record's times starts anywhere; what it is now tells when they were.
        offset_s = time.time() - time.monotonic()
        for exchange in exchanges:
            for span in spans_of(exchange):
                self._processor.on_end(span.finished(offset_s, self._resource))

    def close(self) -> None:
        """Send what is left, as far as the collector takes it."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # theirs

    def _is_chosen(self, trace: TraceContext) -> bool:
        if trace.is_sampled is not None:
            return trace.is_sampled
        return (trace.trace_id & 0xFFFFFFFFFFFFFF) < self._share * 2**56

    def _is_kept(self, exchange: Exchange) -> bool:
        trace = exchange.call.trace
        if trace.is_sampled is not None:
            return trace.is_sampled
        return self._is_chosen(trace) or is_remarkable(exchange)


def is_remarkable(exchange: Exchange) -> bool:
    """Something of it failed here, or the client waited longer than the objective says."""
    if exchange.status >= 500:
        return True
    return any(
        record.fault is Fault.SERVICE or (record.seconds_to_first_piece or 0.0) > SLOW_S
        for record in exchange.call.records
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """A span on the clock of `time.monotonic`."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    begin: float
    end: float
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Mapping[str, Any] | None = None
    error: str | None = None

    def child(self, name: str, begin: float, end: float, **facts: Any) -> "_Span":
        """A part of it."""
        return _Span(name, self.trace_id, new_span_id(), self.span_id, begin, end, **facts)

    def finished(self, offset_s: float, resource: Resource) -> ReadableSpan:
        """As the exporter takes it; `offset_s` turns its clock into Unix time."""
        return ReadableSpan(
            self.name,
            context=self._context(self.span_id, is_remote=False),
            parent=(self.parent_id and self._context(self.parent_id, is_remote=True)) or None,
            resource=resource,
            attributes={
                key: value for key, value in (self.attributes or {}).items() if value is not None
            },
            kind=self.kind,
            status=Status(StatusCode.ERROR, self.error) if self.error else Status(),
            start_time=int((self.begin + offset_s) * 1e9),
            end_time=int((self.end + offset_s) * 1e9),
            instrumentation_scope=_SCOPE,
        )

    def _context(self, span_id: int, *, is_remote: bool) -> SpanContext:
        return SpanContext(self.trace_id, span_id, is_remote, _SAMPLED)


def spans_of(exchange: Exchange) -> Iterator[_Span]:
    """The request over HTTP, in it what it asked of the model, in these the stages."""
    call = exchange.call
    records = call.records
    failed = next((record.outcome for record in records if record.fault is Fault.SERVICE), None)
    root = _Span(
        f"{exchange.method} {exchange.route}",
        call.trace.trace_id,
        call.trace.span_id,
        call.trace.parent_id,
        call.started_at,
        exchange.ended_at,
        SpanKind.SERVER,
        {
            "http.request.method": exchange.method,
            "http.route": exchange.route,
            "http.response.status_code": exchange.status,
            "error.type": _error_type(exchange, failed),
            "phi3.request_id": call.request_id,
            "phi3.tenant": call.caller.tenant or None,
        },
        error=failed or (str(exchange.status) if exchange.status >= 500 else None),
    )
    yield root
    operations = [_operation(root, record) for record in records]
    yield from operations
    # The stages of a batch belong to it as a whole: nobody knows which item they were for.
    owner = operations[0] if len(operations) == 1 else root
    engine = None
    for stage, begin, found in call.spans:
        end = found
        if stage == "engine" and len(records) == 1 and records[0].times is not None:
            # It was noted at the first piece of the answer.
            end = max(end, records[0].times.last_token_at)
        span = (root if stage == "auth" else owner).child(stage, begin, end)
        engine = span if stage == "engine" else engine
        yield span
    for record, operation in zip(records, operations, strict=True):
        for phase, begin, end in record.times.phases() if record.times else []:
            above = engine if engine is not None and len(records) == 1 else operation
            yield above.child(phase, begin, end)


def _operation(root: _Span, record: RequestRecord) -> _Span:
    """What the GenAI conventions call an inference."""
    name = _OPERATIONS.get(record.operation, record.operation.value)
    is_failed = record.fault is Fault.SERVICE
    attributes = {
        "gen_ai.operation.name": name,
        "gen_ai.provider.name": "phi3-bento",
        "gen_ai.request.model": record.model or None,
        "gen_ai.response.model": record.model or None,
        "gen_ai.usage.input_tokens": record.tokens.prompt,
        "gen_ai.usage.output_tokens": record.tokens.completion,
        "gen_ai.usage.cache_read.input_tokens": record.tokens.cached,
        "error.type": None if record.fault is Fault.NONE else record.outcome,
        "phi3.outcome": record.outcome,
        "phi3.cache": record.cache_tier or record.cache_status,
        "phi3.stream": record.stream,
        "phi3.first_piece_s": record.seconds_to_first_piece,
    }
    end = record.ended_at or root.end
    return root.child(
        f"{name} {record.model}".rstrip(),
        record.started_at,
        end,
        attributes=attributes,
        error=record.outcome if is_failed else None,
    )


def _error_type(exchange: Exchange, failed: str | None) -> str | None:
    if exchange.refusal is not None:
        return exchange.refusal.code or exchange.refusal.type
    return failed or (str(exchange.status) if exchange.status >= 500 else None)
