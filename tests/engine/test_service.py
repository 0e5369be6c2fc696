"""The whole service over the real engine: native clients, cost of a decision, hang-ups, metrics."""

import time

import bentoml
import httpx
import pytest

from tests.support import Service, wait_for

pytestmark = pytest.mark.engine

LABELS = ["billing", "shipping", "praise"]
TEXT = "The invoice charged my card twice."


def test_bentomls_clients_generate_and_stream(service: Service) -> None:
    with bentoml.SyncHTTPClient(service.url) as client:
        answer = client.generate(prompt="Which port does this service use?", max_tokens=40)
        pieces = list(
            client.generate_stream(prompt="Which port does this service use?", max_tokens=40)
        )
    assert "11403" in answer["text"]
    assert "".join(pieces) == answer["text"]
    assert answer["model"] == "phi3-demo"


async def test_the_async_client_classifies(service: Service) -> None:
    async with bentoml.AsyncHTTPClient(service.url) as client:
        (decision,) = await client.classify(items=[{"text": TEXT, "labels": LABELS}])
    assert decision["label"] == "billing"
    assert set(decision["probabilities"]) == set(LABELS)
    assert sum(decision["probabilities"].values()) == pytest.approx(1)
    assert decision["probabilities"]["billing"] == max(decision["probabilities"].values())


def test_a_decision_costs_one_forward_pass_over_labels_and_text(service: Service) -> None:
    """By the engine's own counts: the prompt's tokens once, and one token to read them from."""
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
    before = [service.metric(name) for name in names]
    text = f"{TEXT} {time.time()}"
    with bentoml.SyncHTTPClient(service.url) as client:
        (decision,) = client.classify(items=[{"text": text, "labels": LABELS}])
    usage = decision["usage"]

    def spent() -> list[float]:
        return [service.metric(name) - was for name, was in zip(names, before, strict=True)]

    wait_for(lambda: spent()[1] > 0, "the engine counted the decision")
    assert spent() == [usage["prompt_tokens"], 1]
    assert usage["completion_tokens"] == 1


def test_decisions_with_the_same_labels_share_their_prefix(service: Service) -> None:
    labels = [f"a rather long label number {number}" for number in range(8)]
    items = [{"text": f"text {number}", "labels": labels} for number in range(2)]
    with bentoml.SyncHTTPClient(service.url) as client:
        cached = [client.classify(items=[item])[0]["usage"]["cached_tokens"] for item in items]
    assert cached[0] == 0
    assert cached[1] >= 64


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_stops_the_engines_work(service: Service, stream: bool) -> None:
    body = {
        "messages": [{"role": "user", "content": "Hello!"}],
        "max_tokens": 3500,
        "ignore_eos": True,
        "stream": stream,
    }
    url = f"{service.url}/v1/chat/completions"
    if stream:
        with httpx.stream("POST", url, json=body) as response:
            next(response.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, timeout=0.5)
    wait_for(lambda: service.metric("vllm:num_requests_running") == 0, "the engine is idle", 5)


def test_a_native_client_that_hangs_up_stops_the_engines_work(service: Service) -> None:
    before = service.metric("phi3_requests_total")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{service.url}/generate",
            json={"prompt": "word " * 3500, "max_tokens": 500},
            timeout=0.05,
        )
    wait_for(lambda: service.metric("phi3_requests_total") == before + 1, "it is counted", 5)
    wait_for(lambda: service.metric("vllm:num_requests_running") == 0, "the engine is idle", 5)


def test_vllms_metrics_stand_beside_ours(service: Service) -> None:
    lines = service.get("/metrics").text.splitlines()
    for name in (
        "vllm:num_requests_running",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:prefix_cache_hits_total",
        "phi3_request_duration_seconds_bucket",
        "phi3_engine_ready",
    ):
        assert any(line.startswith(name) for line in lines), name


def test_no_line_is_written_for_an_engine_step(service: Service) -> None:
    with bentoml.SyncHTTPClient(service.url) as client:
        client.generate(prompt="Take some steps.", max_tokens=4)
    assert "Iteration(" not in service.output.read_text()


def test_the_service_is_ready_alive_and_says_what_it_is(service: Service) -> None:
    assert service.get("/readyz").status_code == 200
    assert service.get("/livez").status_code == 200
    assert service.get("/version").json() == {
        "version": "0.1.0",
        "model": "phi3-demo",
        "vllm": "0.32.0",
    }


def test_the_start_tells_what_it_does_and_ends_with_a_curl(service: Service) -> None:
    output = service.output.read_text()
    assert "phi3-demo: weights" in output
    assert f"{service.url} — try: curl {service.url}/v1/chat/completions" in output


def test_everything_it_writes_lies_under_the_data_directory(service: Service) -> None:
    written = {path.relative_to(service.data_dir).parts[0] for path in service.data_dir.rglob("*")}
    assert "output.log" in written
    own = {"secret", "usage-journal"}
    others = {"output.log", "run", "vllm", "torchinductor", "cache", "bentoml", "models"}
    databases = {name for name in written if name.startswith(("phi3.db", "cache.db"))}
    assert written - databases <= own | others
