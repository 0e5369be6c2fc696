"""BentoML's own API and frame, over the echo engine: clients, schema, errors, probes, metrics."""

import asyncio
from pathlib import Path

import bentoml
import httpx
import pytest

from tests.support import (
    Service,
    bentoml_command,
    running,
    serve_command,
    wait_for,
    wait_for_async,
)

JSON = {"content-type": "application/json"}
LABELS = ["first", "second", "third"]


def test_the_sync_client_generates(echo_service: Service) -> None:
    with bentoml.SyncHTTPClient(echo_service.url) as client:
        answer = client.generate(prompt="one two three", max_tokens=2)
    assert answer["text"] == "one two"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0}


def test_the_sync_client_streams(echo_service: Service) -> None:
    with bentoml.SyncHTTPClient(echo_service.url) as client:
        assert list(client.generate_stream(prompt="one two three")) == ["one", " two", " three"]


async def test_the_async_client_generates_streams_and_classifies(echo_service: Service) -> None:
    async with bentoml.AsyncHTTPClient(echo_service.url) as client:
        answer = await client.generate(prompt="hello", system="Be brief.", temperature=0.5)
        pieces = [piece async for piece in client.generate_stream(prompt="a b")]
        (decision,) = await client.classify(items=[{"text": "x", "labels": LABELS}])
    assert (answer["text"], pieces, decision["label"]) == ("hello", ["a", " b"], "first")


def test_one_bad_item_in_a_batch_fails_alone(echo_service: Service) -> None:
    items = [
        {"text": "fine", "labels": LABELS},
        {"text": "one label", "labels": ["only"]},
        {"text": "twice", "labels": ["a", "a"]},
        {"text": " ", "labels": LABELS},
        {"text": "too many", "labels": [str(number) for number in range(27)]},
        {"text": "fine too", "labels": LABELS, "instruction": "Choose."},
    ]
    with bentoml.SyncHTTPClient(echo_service.url) as client:
        answers = client.classify(items=items)
    assert [answer.get("label") for answer in answers] == ["first", *[None] * 4, "first"]
    assert [answer["error"]["param"] for answer in answers[1:5]] == [
        *("labels", "labels", "text", "labels")
    ]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    assert list(answers[0]["probabilities"]) == LABELS


async def test_concurrent_decisions_of_many_clients_each_get_their_own(
    echo_service: Service,
) -> None:
    async with httpx.AsyncClient(base_url=echo_service.url, timeout=30) as client:

        async def decide(number: int) -> str:
            item = {"text": "x", "labels": [f"label {number}", "other"]}
            response = await client.post("/classify", json={"items": [item]})
            return str(response.json()[0]["label"])

        labels = await asyncio.gather(*(decide(number) for number in range(40)))
    assert labels == [f"label {number}" for number in range(40)]


async def test_a_decision_does_not_wait_for_those_before_it(tmp_path: Path) -> None:
    settings = {"PHI3_ENGINE": "echo", "PHI3_ECHO_WORD_S": "5"}
    with running(bentoml_command(), tmp_path, settings) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:

            async def decide(text: str) -> httpx.Response:
                item = {"text": text, "labels": LABELS}
                return await client.post("/classify", json={"items": [item]})

            async def running_are(number: int) -> bool:
                return bool((await client.get("/load")).json()["server_load"] == number)

            first = asyncio.create_task(decide("one"))
            await wait_for_async(lambda: running_are(1), "the first runs", 20)
            second = asyncio.create_task(decide("two"))
            await wait_for_async(lambda: running_are(2), "both run", 20)
            assert not first.done()
            assert [(await each).status_code for each in (first, second)] == [200, 200]


@pytest.mark.parametrize(
    ("path", "content", "status", "param"),
    [
        ("/generate", b"{", 400, None),
        ("/generate", b"{}", 400, "prompt"),
        ("/generate", b'{"prompt": 5}', 400, "prompt"),
        ("/generate", b'{"prompt": ""}', 400, "prompt"),
        ("/generate", b'{"prompt": "x", "max_tokens": 0}', 400, "max_tokens"),
        ("/generate", b'{"prompt": "x", "temperature": -1}', 400, "temperature"),
        ("/generate", b" " * 2_000_000, 413, None),
        ("/generate_stream", b'{"prompt": "' + b"word " * 5000 + b'"}', 400, "messages"),
        ("/classify", b'{"items": [{"text": 1, "labels": ["a", "b"]}]}', 400, "items.0.text"),
        ("/classify", b'{"items": [{"text": "x", "label": "a"}]}', 400, "items.0.labels"),
    ],
)
def test_native_errors_have_openai_bodies_too(
    echo_service: Service, path: str, content: bytes, status: int, param: str | None
) -> None:
    response = httpx.post(echo_service.url + path, content=content, headers=JSON)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["x-request-id"]


def test_probes_schema_and_page_answer(echo_service: Service) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/schema.json", "/docs.json", "/"):
        assert echo_service.get(path).status_code == 200, path
    routes = {route["name"]: route for route in echo_service.get("/schema.json").json()["routes"]}
    assert set(routes) == {"generate", "generate_stream", "classify"}
    assert routes["classify"]["batchable"] is True
    assert routes["generate_stream"]["output"]["is_stream"] is True


def test_nothing_under_v1_is_answered_by_bentoml(echo_service: Service) -> None:
    for method, path in (
        ("GET", "/v1/nothing"),
        ("POST", "/v1/models"),
        ("PUT", "/v1/completions"),
    ):
        response = httpx.request(method, echo_service.url + path)
        assert response.json()["error"]["type"] == "invalid_request_error", path


@pytest.mark.parametrize("path", ["/generate", "/classify"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_native_operation_takes_json_alone(echo_service: Service, path: str, kind: str) -> None:
    """A form or a plain text could come from any web page, without the browser asking first."""
    response = httpx.post(echo_service.url + path, content=b"{}", headers={"content-type": kind})
    assert (response.status_code, response.json()["error"]["code"]) == (
        415,
        "unsupported_media_type",
    )


def test_our_metrics_stand_beside_bentomls(echo_service: Service) -> None:
    with bentoml.SyncHTTPClient(echo_service.url) as client:
        client.generate(prompt="count me")
    assert echo_service.get("/v1/models").status_code == 200
    lines = echo_service.get("/metrics").text.splitlines()
    assert any(
        line.startswith('phi3_requests_total{fault="none",operation="chat",outcome="ok"}')
        for line in lines
    )
    build = 'phi3_build_info{model="phi3-echo",version="0.1.0",vllm="0.32.0"} 1.0'
    assert build in lines
    assert "phi3_engine_ready 1.0" in lines
    assert any(line.startswith("bentoml_service_request_total") for line in lines)
    models = 'http_requests_total{handler="/v1/models",method="GET",status="2xx"} '
    assert any(line.startswith(models) for line in lines)
    assert any(line.startswith("http_request_duration_seconds_bucket") for line in lines)


def test_a_key_guards_every_inference_path_and_no_probe(tmp_path: Path) -> None:
    key = "a-key-of-sixteen-characters"
    env = {"PHI3_ENGINE": "echo", "PHI3_API_KEY": key}
    guarded = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize", "/detokenize")
    native = (
        "/generate",
        "/generate_stream",
        "/classify",
        "/schema.json",
        "/docs.json",
        "/",
        "/metrics",
    )
    with running(bentoml_command(), tmp_path, env) as service:
        for path in (*guarded, *native):
            response = httpx.post(service.url + path, json={})
            assert (response.status_code, response.json()["error"]["code"]) == (
                401,
                "invalid_api_key",
            ), path
            assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/livez", "/readyz", "/healthz", "/health", "/version"):
            assert service.get(path).status_code == 200, path
        with bentoml.SyncHTTPClient(service.url, token=key) as client:
            assert client.generate(prompt="hello")["text"] == "hello"


async def test_sigterm_lets_running_answers_finish_then_cuts_them_off(tmp_path: Path) -> None:
    """Two streams: one ends within the limit, the other is told why it does not."""
    env = {"PHI3_ENGINE": "echo", "PHI3_DRAIN_LIMIT_S": "3", "PHI3_ECHO_WORD_S": "0.1"}
    with running(bentoml_command(), tmp_path, env) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:

            async def stream(words: int) -> list[str]:
                body = {
                    "messages": [{"role": "user", "content": "word " * words}],
                    "stream": True,
                }
                async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                    return [line async for line in response.aiter_lines() if line]

            short, long = asyncio.create_task(stream(15)), asyncio.create_task(stream(2000))
            await asyncio.sleep(0.5)
            service.terminate()
            finished, cut_off = await asyncio.gather(short, long)
        assert '"finish_reason": "stop"' in finished[-2]
        assert "shutting down" in cut_off[-2]
        assert finished[-1] == cut_off[-1] == "data: [DONE]"
        await asyncio.to_thread(wait_for, lambda: service.process.poll() is not None, "the end", 20)
        assert service.left_behind() == []


def test_a_launcher_that_is_killed_takes_its_service_along(tmp_path: Path) -> None:
    with running(serve_command(), tmp_path, {"PHI3_ENGINE": "echo"}) as service:
        service.descendants = service.tree()
        service.process.kill()
        service.process.wait()
        wait_for(lambda: not service.left_behind(), "the service ends too")
