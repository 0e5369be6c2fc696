"""A request's line says who, what, how long and what became of it, and not what was said."""

import json

import pytest

from phi3_bento.call import Exchange
from phi3_bento.caller import LOCAL_CALLER
from phi3_bento.errors import InvalidApiKey
from phi3_bento.record import Fault
from phi3_bento.usage.log import Format
from phi3_bento.usage.request_log import RequestLog
from tests.unit.usage.records import exchange, generated, hit, record

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines(*exchanges: Exchange, format_: Format = "json") -> list[str]:
    written: list[str] = []
    log = RequestLog(written.append, format_)
    for each in exchanges:
        log.hear(each)
    log.take()()
    return "".join(written).splitlines()


def said(made: Exchange) -> dict[str, object]:
    (line,) = lines(made)
    return json.loads(line)  # type: ignore[no-any-return]


def test_a_line_tells_the_whole_request() -> None:
    made = exchange(generated(), x_request_id="my-1", traceparent=PARENT)
    made.call.caller = LOCAL_CALLER
    made.call.timings = {"auth": 0.01, "cache": 0.02}
    line = said(made)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "phi3.request",
        "message": "POST /v1/chat/completions 200",
        "request_id": "my-1",
        "trace_id": TRACE,
        "tenant": "local",
        "key_id": "local",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "outcome": "ok",
        "duration_ms": 3000.0,
        "timings_ms": {"auth": 10.0, "cache": 20.0},
        "operation": "chat",
        "model": "phi3-echo",
        "stream": True,
        "prompt_tokens": 7,
        "cached_tokens": 2,
        "completion_tokens": 3,
        "cache": "miss",
        "first_piece_ms": 200.0,
        "engine_ms": {"queue": 50.0, "prefill": 100.0, "decode": 2700.0},
    }


def test_a_hit_names_its_tier() -> None:
    assert said(exchange(hit("warm")))["cache"] == "warm"


def test_a_batch_is_one_line_and_its_first_failure_its_outcome() -> None:
    failed = record("engine_failure", fault=Fault.SERVICE)
    line = said(exchange(record(), failed, record()))
    assert (line["requests"], line["prompt_tokens"]) == (3, 21)
    assert (line["outcome"], line["level"]) == ("engine_failure", "error")


def test_a_refusal_at_the_door_has_a_line_without_a_tenant() -> None:
    line = said(exchange(status=401, refusal=InvalidApiKey("Who?")))
    assert (line["outcome"], line["status"], line["tenant"]) == ("invalid_api_key", 401, None)
    assert "model" not in line


@pytest.mark.parametrize(("status", "count"), [(200, 0), (503, 0), (500, 1), (403, 1)])
def test_probes_are_silent_unless_something_is_wrong(status: int, count: int) -> None:
    call = exchange().call
    assert len(lines(Exchange(call, "GET", "/readyz", status))) == count


def test_for_people_it_is_short() -> None:
    made = exchange(hit(), x_request_id="my-1")
    (line,) = lines(made, format_="text")
    assert "POST /v1/chat/completions · 200 ok 3000 ms · 7+0 tokens, cache memory" in line
    assert line.endswith("my-1")
