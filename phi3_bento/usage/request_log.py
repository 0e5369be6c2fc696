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


def facts_of(exchange: Exchange) -> dict[str, Any]:
    """What a line says, in JSON's types; nothing of it is in the request's body."""
    call, records = exchange.call, exchange.call.records
    facts: dict[str, Any] = {
        "request_id": call.request_id,
        "trace_id": call.trace.trace,
        "tenant": call.caller.tenant or None,
        "key_id": call.caller.key_id or None,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "outcome": _outcome(exchange),
        "duration_ms": _ms(exchange.seconds),
        "timings_ms": {name: _ms(seconds) for name, seconds in call.timings.items()},
    }
    if records:
        facts.update(_facts_of_requests(records))
    return facts


def _facts_of_requests(records: Sequence[RequestRecord]) -> dict[str, Any]:
    first = records[0]
    facts: dict[str, Any] = {
        "operation": first.operation.value,
        "model": first.model or None,
        "stream": first.stream,
    }
    if len(records) > 1:
        for kind in ("prompt", "cached", "completion"):
            facts[f"{kind}_tokens"] = sum(getattr(record.tokens, kind) for record in records)
        return facts | {"requests": len(records)}
    # By far the most lines are of one request, and written while a hit waits for the processor.
    tokens = first.tokens
    facts["prompt_tokens"] = tokens.prompt
    facts["cached_tokens"] = tokens.cached
    facts["completion_tokens"] = tokens.completion
    if first.cache_status is not None:
        facts["cache"] = first.cache_tier or first.cache_status
    if (first_s := first.seconds_to_first_piece) is not None:
        facts["first_piece_ms"] = _ms(first_s)
    if first.limit is not None:
        facts["limit"] = first.limit
    if first.times is not None:
        facts["engine_ms"] = {name: _ms(end - begin) for name, begin, end in first.times.phases()}
    return facts


def json_line(exchange: Exchange, offset_s: float) -> str:
    """As one JSON object; `offset_s` turns the clock of times into Unix time."""
    facts = {
        "time": iso_time(exchange.ended_at + offset_s),
        "level": _level(exchange),
        "logger": LOGGER,
        "message": f"{exchange.method} {exchange.route} {exchange.status}",
        **facts_of(exchange),
    }
    return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE).decode()


def text_line(exchange: Exchange, offset_s: float) -> str:
    """For people: the time, the request, its end, and the stages that took longest."""
    facts = facts_of(exchange)
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
