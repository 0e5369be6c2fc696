"""OpenAI's API over the echo engine: routes, framing, headers, errors, hang-ups."""

import asyncio
import json
import threading
from pathlib import Path

import httpx
import openai
import pytest

from phi3_bento.errors import EngineFailure
from tests.support import EchoServer, echo_server, wait_for

HELLO = {"messages": [{"role": "user", "content": "one two three"}]}


def events(response: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_a_chat_answers_in_openai_form(echo: EchoServer) -> None:
    client = openai.OpenAI(base_url=f"{echo.url}/v1", api_key="none")
    answer = client.chat.completions.create(model="phi3-echo", **HELLO)
    assert answer.choices[0].message.content == "one two three"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


def test_a_response_carries_its_request_id_and_timings(echo: EchoServer) -> None:
    response = httpx.post(
        f"{echo.url}/v1/chat/completions", json=HELLO, headers={"x-request-id": "my-1"}
    )
    assert response.headers["x-request-id"] == "my-1"
    assert response.json()["id"] == "chatcmpl-my-1"
    assert response.headers["openai-processing-ms"].isdigit()
    stages = [part.partition(";")[0] for part in response.headers["server-timing"].split(", ")]
    assert stages == ["auth", "engine", "queue", "prefill", "decode", "total"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a/b", "é"])
def test_an_odd_request_id_is_replaced(echo: EchoServer, given: str) -> None:
    headers = [(b"x-request-id", given.encode())]
    response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO, headers=headers)
    assert len(response.headers["x-request-id"]) == 32


def test_a_stream_is_framed_as_clients_expect(echo: EchoServer) -> None:
    response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO | {"stream": True})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *chunks, end = events(response)
    assert end == "[DONE]"
    documents = [json.loads(chunk) for chunk in chunks]
    assert documents[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len({document["id"] for document in documents}) == 1


def test_a_failure_before_the_first_piece_keeps_its_status(echo: EchoServer) -> None:
    echo.engine.enqueue(EngineFailure("It broke."))
    response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO | {"stream": True})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "engine_failure"


def test_a_failure_in_a_stream_is_an_event_and_the_stream_ends_well(
    echo: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self, job):  # type: ignore[no-untyped-def]
        yield b'{"choices": []}'
        raise EngineFailure("It broke in the middle.")

    monkeypatch.setattr(type(echo.engine), "run", failing)
    response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO | {"stream": True})
    assert response.status_code == 200
    first, failure, end = events(response)
    assert json.loads(failure)["error"]["message"] == "It broke in the middle."
    assert (json.loads(first), end) == ({"choices": []}, "[DONE]")

    def failed() -> float:
        labels = {"outcome": "engine_failure", "fault": "service"}
        return echo.metric("phi3_requests_total", operation="chat", **labels)

    wait_for(
        lambda: failed() == 1,
        "the failure is counted",
    )


def test_a_silent_stream_is_kept_open_by_comments(tmp_path: Path) -> None:
    with echo_server(tmp_path, keep_alive_s=0.05) as echo:
        echo.engine.word_s = 0.3
        response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO | {"stream": True})
    assert ": keep-alive" in events(response)
    assert events(response)[-1] == "[DONE]"


async def test_a_hang_up_in_a_stream_stops_the_engine(echo: EchoServer) -> None:
    echo.engine.word_s = 0.05
    body = {"messages": [{"role": "user", "content": "word " * 400}], "stream": True}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{echo.url}/v1/chat/completions", json=body) as response,
    ):
        async for _ in response.aiter_lines():
            break
    await asyncio.to_thread(wait_for, lambda: echo.engine.running == 0, "the engine stops", 2)
    assert echo.engine.aborted == 1
    aborted = {"operation": "chat", "outcome": "aborted", "fault": "none"}
    assert echo.metric("phi3_requests_total", **aborted) == 1
    assert echo.metric("phi3_requests_in_flight") == 0


def test_a_hang_up_before_the_answer_stops_the_engine(echo: EchoServer) -> None:
    echo.engine.word_s = 0.05
    body = {"messages": [{"role": "user", "content": "word " * 400}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{echo.url}/v1/chat/completions", json=body, timeout=0.3)
    wait_for(lambda: echo.engine.running == 0, "the engine stops", 2)
    assert echo.engine.aborted == 1


def test_models_are_listed_and_shown(echo: EchoServer) -> None:
    client = openai.OpenAI(base_url=f"{echo.url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["phi3-echo"]
    assert client.models.retrieve("phi3-echo").owned_by == "phi3-bento"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("gpt-4/turbo")
    assert error.value.code == "model_not_found"


def test_health_and_version_answer(echo: EchoServer) -> None:
    for path in ("/health", "/ping", "/v1/health/live", "/v1/health/ready"):
        assert httpx.get(echo.url + path).status_code == 200, path
    assert httpx.get(f"{echo.url}/version").json()["model"] == "phi3-echo"


def test_while_the_engine_starts_requests_get_503_with_retry_after(tmp_path: Path) -> None:
    started = threading.Event()
    with echo_server(tmp_path, started=started) as echo:
        response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) <= 120
        assert int(response.headers["retry-after-ms"]) == 5000
        assert httpx.get(f"{echo.url}/v1/health/live").status_code == 200
        ready = httpx.get(f"{echo.url}/v1/health/ready")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "engine_starting")
        started.set()
        wait_for(echo.is_ready, "the engine is there")
        answer = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO)
        assert answer.status_code == 200, answer.text


def test_an_answer_that_does_not_begin_in_time_gets_504(tmp_path: Path) -> None:
    with echo_server(tmp_path, first_piece_limit_s=0.1) as echo:
        echo.engine.word_s = 5
        response = httpx.post(f"{echo.url}/v1/chat/completions", json=HELLO)
        assert response.json()["error"]["code"] == "deadline_exceeded"
        assert (response.status_code, echo.engine.running) == (504, 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
    ],
)
def test_wrong_routes_under_v1_get_openai_errors(
    echo: EchoServer, method: str, path: str, status: int, code: str
) -> None:
    response = httpx.request(method, echo.url + path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_browser_page_of_an_allowed_origin_may_read_our_headers(tmp_path: Path) -> None:
    with echo_server(tmp_path, cors_origins="https://app.example") as server:
        headers = {"origin": "https://app.example"}
        response = httpx.post(f"{server.url}/v1/chat/completions", json=HELLO, headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in response.headers["access-control-expose-headers"]
