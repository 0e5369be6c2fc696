"""What a real service writes: JSON alone, a line for each request, no secret and no prompt."""

import json
import signal
from pathlib import Path

import httpx
import pytest

from tests.support import bentoml_command, free_port, running

KEY = "an-operators-key-in-the-environment"
SECRET = "the-deployments-secret-of-32-characters"
PASSWORD = "pass%40word-of-a-database"
PROMPT = "tell-nobody-what-i-asked"
HIDDEN = (KEY, SECRET, PASSWORD, "pass@word-of-a-database", PROMPT)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, postgresql_url: str) -> str:
    """All that a service has written which met much that can go wrong, from start to stop."""
    directory = tmp_path_factory.mktemp("logs")
    nowhere = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"
    settings = {
        "PHI3_ENGINE": "echo",
        "PHI3_API_KEY": KEY,
        "PHI3_SECRET": SECRET,
        "PHI3_DATABASE_URL": postgresql_url.replace("postgres@", f"postgres:{PASSWORD}@"),
        "PHI3_LIMITS_URL": nowhere,
        "PHI3_CACHE_URL": nowhere,
        "PHI3_MAX_BODY_BYTES": "10000",
    }
    with running(bentoml_command(), directory, settings) as service:
        with httpx.Client(
            base_url=service.url, headers={"authorization": f"Bearer {KEY}"}
        ) as client:
            talk(client)
        service.terminate()
        service.process.wait(timeout=60)
    return service.output.read_text()


def talk(client: httpx.Client) -> None:
    """Good requests and bad ones, all with what must not be written."""
    chat = {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0}
    post = "/v1/chat/completions"
    for headers in ({"x-request-id": "first-1"}, {}, {"x-request-id": KEY}):
        assert client.post(post, json=chat, headers=headers).status_code == 200
    assert client.post(post, json={**chat, "stream": True}).status_code == 200
    wrong = {"authorization": f"Bearer {KEY}-not"}
    assert client.post(post, json=chat, headers=wrong).status_code == 401
    assert client.post(post, json={**chat, "temperature": PROMPT}).status_code == 400
    assert client.post(post, content=f'{{"messages": "{PROMPT}').status_code == 415
    assert client.post(post, json={**chat, "model": PROMPT}).status_code == 404
    assert client.post(post, json={"messages": PROMPT * 1000}).status_code == 413
    assert client.get(f"/{PROMPT}?key={KEY}").status_code == 404
    assert client.post("/generate", json={"prompt": PROMPT}).status_code == 200
    assert client.post("/generate", json={"prompt": 1, "system": PROMPT}).status_code == 400
    items = [{"text": PROMPT, "labels": ["a", "b"]}, {"text": PROMPT, "labels": ["a"]}]
    assert client.post("/classify", json={"items": items}).status_code == 200


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_every_line_is_json_and_says_when_how_serious_and_who(output: str) -> None:
    for line in lines(output):
        assert {"time", "level", "logger", "message"} <= set(line), line


def test_no_line_holds_a_secret_or_what_was_asked(output: str) -> None:
    for hidden in HIDDEN:
        found = [line[:500] for line in output.splitlines() if hidden in line]
        assert found == [], hidden


def test_each_request_has_a_line(output: str) -> None:
    said = [line for line in lines(output) if line["logger"] == "phi3.request"]
    outcomes = [line["outcome"] for line in said]
    assert len(said) == 13
    assert outcomes.count("invalid_api_key") == 1
    assert outcomes.count("ok") == 6
    first, second = said[:2]
    assert (first["request_id"], first["route"]) == ("first-1", "/v1/chat/completions")
    assert (first["cache"], second["cache"]) == ("miss", "memory")
    assert first["prompt_tokens"] == 1
    assert {line["route"] for line in said} == {
        *("/v1/chat/completions", "none", "/generate", "/classify")
    }
    assert all(len(str(line["trace_id"])) == 32 for line in said)


def test_on_a_terminal_it_is_for_people(tmp_path: Path) -> None:
    settings = {"PHI3_ENGINE": "echo", "PHI3_LOG_FORMAT": "text"}
    with running(bentoml_command(), tmp_path, settings) as service:
        httpx.post(f"{service.url}/tokenize", json={"prompt": "x"}).raise_for_status()
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(timeout=60)
    text = service.output.read_text()
    assert "bentoml.phi3: Ready: phi3-echo answers." in text
    assert "POST /tokenize · 200 ok" in text
    assert not any(line.startswith("{") for line in text.splitlines())
