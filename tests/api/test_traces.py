"""Traces arrive at a collector over OTLP: those of the share, of who asks, and of what failed."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from phi3_bento.errors import EngineFailure
from tests.collector import Collector, facts, otlp_collector
from tests.support import EchoServer, echo_server, wait_for

CHAT = {"messages": [{"role": "user", "content": "one two three"}], "temperature": 0}
PARENT = "00f067aa0ba902b7"
PATH = "/v1/chat/completions"
SERVER = f"POST {PATH}"
OPERATION = "chat phi3-echo"


@pytest.fixture
def own_collector() -> Iterator[Collector]:
    with otlp_collector() as collector:
        yield collector


@pytest.fixture
def nothing_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take long for anything, and that would be worth a trace."""
    monkeypatch.setattr("phi3_bento.usage.trace.SLOW_S", 600)


@pytest.fixture
def traced(tmp_path: Path, own_collector: Collector) -> Iterator[EchoServer]:
    """Traces nothing that nobody asks for."""
    with echo_server(tmp_path, otlp_endpoint=own_collector.url, trace_share=0) as echo:
        yield echo


def ask(
    echo: EchoServer,
    *,
    trace: str | None = None,
    flags: str = "01",
    path: str = PATH,
    **body: object,
) -> httpx.Response:
    headers = {} if trace is None else {"traceparent": f"00-{trace}-{PARENT}-{flags}"}
    return httpx.post(echo.url + path, json=CHAT | body, headers=headers)


def collected(echo: EchoServer, collector: Collector, roots: int = 0) -> Collector:
    """When everything has been sent that will be: at least `roots` requests."""

    def have_come() -> bool:
        # A client has its answer a moment before the door knows that all of it is sent.
        echo.application.reporter.flush()
        tracing = echo.application._tracing
        assert tracing is not None
        tracing._processor.force_flush()
        return [span.name for span in list(collector.spans)].count(SERVER) >= roots

    wait_for(have_come, f"{roots} traces")
    return collector


def test_a_request_is_a_tree_of_stages_under_its_sender(
    traced: EchoServer, own_collector: Collector
) -> None:
    traced.engine.word_s = 0.01
    trace = uuid4().hex
    answer = ask(traced, trace=trace)
    spans = collected(traced, own_collector, 1).of_trace(trace)
    parents = {name: _parent(span, spans) for name, span in spans.items()}
    assert parents == {
        SERVER: PARENT,
        "auth": SERVER,
        OPERATION: SERVER,
        "cache": OPERATION,
        "engine": OPERATION,
        "queue": "engine",
        "prefill": "engine",
        "decode": "engine",
    }
    root = spans[SERVER]
    assert root.kind == Span.SPAN_KIND_SERVER
    version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
    assert (version, trace_id, span_id, flags) == ("00", trace, root.span_id.hex(), "01")
    for name, span in spans.items():
        assert root.start_time_unix_nano <= span.start_time_unix_nano, name
        assert span.start_time_unix_nano <= span.end_time_unix_nano, name
        assert span.end_time_unix_nano <= root.end_time_unix_nano, name
    decode = spans["decode"]
    assert decode.end_time_unix_nano - decode.start_time_unix_nano >= 15e6
    assert own_collector.resources[0]["service.name"] == "phi3-bento"


def _parent(span: Span, spans: dict[str, Span]) -> str:
    above = [name for name, each in spans.items() if each.span_id == span.parent_span_id]
    return above[0] if above else span.parent_span_id.hex()


def test_spans_speak_the_conventions_for_http_and_for_generative_ai(
    traced: EchoServer, own_collector: Collector
) -> None:
    trace = uuid4().hex
    ask(traced, trace=trace)
    spans = collected(traced, own_collector, 1).of_trace(trace)
    http = facts(spans[SERVER].attributes)
    assert http["http.request.method"] == "POST"
    assert http["http.route"] == PATH
    assert http["http.response.status_code"] == 200
    said = facts(spans[OPERATION].attributes)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "phi3-echo"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (3, 3)
    assert said["phi3.cache"] == "miss"
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    assert {name for name in said if name.startswith("gen_ai.")} <= known
    assert "one two three" not in str(spans)


def test_a_hit_has_no_engine_in_its_trace(traced: EchoServer, own_collector: Collector) -> None:
    ask(traced)
    trace = uuid4().hex
    ask(traced, trace=trace)
    spans = collected(traced, own_collector, 1).of_trace(trace)
    assert set(spans) == {SERVER, "auth", OPERATION, "cache"}
    assert facts(spans[OPERATION].attributes)["phi3.cache"] == "memory"


def test_what_nobody_asks_for_is_not_sent(
    traced: EchoServer, own_collector: Collector, nothing_is_slow: None
) -> None:
    assert "traceresponse" not in ask(traced).headers
    answer = ask(traced, trace=uuid4().hex, flags="00")
    assert answer.headers["traceresponse"].endswith("-00")
    httpx.get(f"{traced.url}/odd")
    assert collected(traced, own_collector).spans == []


def test_what_fails_or_is_slow_is_sent_all_the_same(
    traced: EchoServer, own_collector: Collector
) -> None:
    traced.engine.enqueue(EngineFailure("It broke."))
    assert ask(traced).status_code == 500
    failed = {span.name: span for span in collected(traced, own_collector, 1).spans}
    assert failed[SERVER].status.code == Status.STATUS_CODE_ERROR
    assert failed[OPERATION].status.code == Status.STATUS_CODE_ERROR
    assert facts(failed[OPERATION].attributes)["error.type"] == "engine_failure"
    own_collector.spans.clear()
    traced.engine.word_s = 0.15
    ask(traced, temperature=1)
    assert SERVER in {span.name for span in collected(traced, own_collector, 1).spans}


def test_the_sender_has_the_last_word_on_failures_too(
    traced: EchoServer, own_collector: Collector
) -> None:
    traced.engine.enqueue(EngineFailure("It broke."))
    assert ask(traced, trace=uuid4().hex, flags="00").status_code == 500
    assert collected(traced, own_collector).spans == []


def test_the_share_is_kept(tmp_path: Path, own_collector: Collector, nothing_is_slow: None) -> None:
    with echo_server(tmp_path, otlp_endpoint=own_collector.url, trace_share=0.5) as echo:
        named = sum("traceresponse" in ask(echo).headers for _ in range(40))
        spans = collected(echo, own_collector, named).spans
    assert 5 < named < 35
    assert len([span for span in spans if span.name == SERVER]) == named


def test_without_a_collector_there_is_no_trace_and_nobody_notices(tmp_path: Path) -> None:
    with echo_server(tmp_path, otlp_endpoint="http://127.0.0.1:9", trace_share=1) as echo:
        assert ask(echo).status_code == 200
    with echo_server(tmp_path) as echo:
        assert "traceresponse" not in ask(echo).headers
