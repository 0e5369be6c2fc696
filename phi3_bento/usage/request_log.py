"""One line for each request: who, what, how long, and what became of it; never what was said."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from phi3_bento.call import Exchange
from phi3_bento.record import Fault, RequestRecord
from phi3_bento.usage.log import Format, iso_time

LOGGER = "phi3.request"

_QUIET_ROUTES = frozenset(
    {
        *("/livez", "/readyz", "/healthz", "/health", "/ping", "/metrics"),
        *("/v1/health/live", "/v1/health/ready", "/load", "/get_load"),
    }
)
"""Machines ask these every few seconds."""

_PROBED = (200, 503)
"""What they get, ready or not; anything else is worth a line."""


class RequestLog:
    """A listener of the `Reporter`: writes through `write`, which may block."""

    def __init__(self, write: Callable[[str], None], format_: Format) -> None:
        self._write = write
        self._line = json_line if format_ == "json" else text_line
        self._lines: list[str] = []

    def hear(self, what: RequestRecord | Exchange) -> None:
        """Make its line, if it is one that has a line."""
        if isinstance(what, Exchange) and (
            what.route not in _QUIET_ROUTES or what.status not in _PROBED
        ):
            # The clock of a record's times starts anywhere; what it is now tells when they were.
            self._lines.append(self._line(what, time.time() - time.monotonic()))

    def take(self) -> Callable[[], None]:
        """Hand over the lines: a call that writes them."""
        lines, self._lines = self._lines, []
        return lambda: self._write("".join(lines)) if lines else None


def add_facts(facts: dict[str, Any], exchange: Exchange) -> None:
    """Add what a line says, in JSON's types; nothing of it is in the request's body."""
    call, records = exchange.call, exchange.call.records
    facts["request_id"] = call.request_id
    facts["trace_id"] = call.trace.trace
    facts["tenant"] = call.caller.tenant or None
    facts["key_id"] = call.caller.key_id or None
    facts["method"] = exchange.method
    facts["route"] = exchange.route
    facts["status"] = exchange.status
    facts["outcome"] = _outcome(exchange)
    facts["duration_ms"] = _ms(exchange.seconds)
    facts["timings_ms"] = {name: _ms(seconds) for name, seconds in call.timings.items()}
    if records:
        first = records[0]
        facts["operation"] = first.operation.value
        facts["model"] = first.model or None
        facts["stream"] = first.stream
        if len(records) == 1:
            _add_request(facts, first)
        else:
            _add_requests(facts, records)


def _add_request(facts: dict[str, Any], record: RequestRecord) -> None:
    """Of a request that asked for one thing, as nearly all do."""
    tokens = record.tokens
    facts["prompt_tokens"] = tokens.prompt
    facts["cached_tokens"] = tokens.cached
    facts["completion_tokens"] = tokens.completion
    if record.cache_status is not None:
        facts["cache"] = record.cache_tier or record.cache_status
    if (first_s := record.seconds_to_first_piece) is not None:
        facts["first_piece_ms"] = _ms(first_s)
    if record.limit is not None:
        facts["limit"] = record.limit
    if record.times is not None:
        facts["engine_ms"] = {name: _ms(end - begin) for name, begin, end in record.times.phases()}


def _add_requests(facts: dict[str, Any], records: Sequence[RequestRecord]) -> None:
    for kind in ("prompt", "cached", "completion"):
        facts[f"{kind}_tokens"] = sum(getattr(record.tokens, kind) for record in records)
    facts["requests"] = len(records)


def json_line(exchange: Exchange, offset_s: float) -> str:
    """As one JSON object; `offset_s` turns the clock of times into Unix time."""
    facts: dict[str, Any] = {
        "time": iso_time(exchange.ended_at + offset_s),
        "level": _level(exchange),
        "logger": LOGGER,
        "message": f"{exchange.method} {exchange.route} {exchange.status}",
    }
    add_facts(facts, exchange)
    return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE).decode()


def text_line(exchange: Exchange, offset_s: float) -> str:
    """For people: the time, the request, its end, and the stages that took longest."""
    facts: dict[str, Any] = {}
    add_facts(facts, exchange)
    clock = time.strftime("%H:%M:%S", time.localtime(exchange.ended_at + offset_s))
    words = [
        f"{clock} {_level(exchange).upper():<7} {exchange.method} {exchange.route}",
        f"{exchange.status} {facts['outcome']} {facts['duration_ms']:g} ms",
    ]
    if "prompt_tokens" in facts:
        tokens = f"{facts['prompt_tokens']}+{facts['completion_tokens']} tokens"
        words.append(f"{tokens}, cache {facts.get('cache', 'none')}")
    words.append(f"tenant {facts['tenant'] or '-'}, {facts['request_id']}")
    return f"{' · '.join(words)}\n"


def _outcome(exchange: Exchange) -> str:
    """Of the first request that went wrong, or of the door, or plain `ok`."""
    for record in exchange.call.records:
        if record.outcome != "ok":
            return record.outcome
    if exchange.refusal is not None:
        return exchange.refusal.code or exchange.refusal.type
    return "ok" if exchange.status < 400 else "refused"


def _level(exchange: Exchange) -> str:
    is_ours = exchange.status >= 500 or any(
        record.fault is Fault.SERVICE for record in exchange.call.records
    )
    return "error" if is_ours else "info"


def _ms(seconds: float) -> float:
    # To the microsecond; `round` would take a third of a line's time.
    return (seconds * 1e6 + 0.5) // 1 / 1e3
