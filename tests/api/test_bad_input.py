"""Whatever is sent gets a 4xx with an OpenAI error body, and the service goes on."""

from typing import Any

import httpx
import pytest

from tests.support import EchoServer

JSON = {"content-type": "application/json"}
CHAT = "/v1/chat/completions"


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


BAD_BODIES: list[tuple[str, str, bytes | dict[str, Any] | list[Any], str | None]] = [
    ("malformed JSON", CHAT, b'{"messages": [', None),
    ("invalid UTF-8", CHAT, b'{"messages": "\xff\xfe"}', None),
    ("a lone surrogate", CHAT, b'{"messages": "\\ud800"}', None),
    ("NaN", CHAT, b'{"temperature": NaN}', None),
    ("deep nesting", CHAT, b"[" * 100_000, None),
    ("a list", CHAT, [], None),
    ("no messages", CHAT, {}, "messages"),
    ("empty messages", CHAT, {"messages": []}, "messages"),
    ("messages of a wrong type", CHAT, {"messages": "hi"}, "messages"),
    ("a message of a wrong type", CHAT, {"messages": ["hi"]}, "messages.0"),
    (
        "an unknown role",
        CHAT,
        {"messages": [{"role": "pirate", "content": "x"}]},
        "messages.0.role",
    ),
    ("no content", CHAT, {"messages": [{"role": "user"}]}, "messages.0.content"),
    ("a number as content", CHAT, user(7), "messages.0.content"),
    ("a negative temperature", CHAT, user("x") | {"temperature": -1}, "temperature"),
    ("too many choices", CHAT, user("x") | {"n": 10**9}, "n"),
    ("too many stops", CHAT, user("x") | {"stop": ["a"] * 100}, "stop"),
    ("a salt of the client's", CHAT, user("x") | {"cache_salt": "mine"}, "cache_salt"),
    ("a priority of the client's", CHAT, user("x") | {"priority": -5}, "priority"),
    ("a template of the client's", CHAT, user("x") | {"chat_template": "{{ x }}"}, "chat_template"),
    ("tools", CHAT, user("x") | {"tools": [{"type": "function"}]}, "tools"),
    ("a prompt over the context", CHAT, user("word " * 5000), "messages"),
    ("no prompt", "/v1/completions", {}, "prompt"),
    ("an empty prompt", "/v1/completions", {"prompt": ""}, "prompt"),
    ("too many prompts", "/v1/completions", {"prompt": ["x"] * 1000}, "prompt"),
]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [case[1:] for case in BAD_BODIES],
    ids=[case[0] for case in BAD_BODIES],
)
def test_a_bad_body_gets_400_that_names_the_parameter(
    echo: EchoServer, path: str, body: Any, param: str | None
) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = httpx.post(echo.url + path, headers=JSON, **content)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert len(response.content) < 2000
    assert httpx.post(echo.url + CHAT, json=user("still there?")).status_code == 200


def test_an_unknown_model_gets_404(echo: EchoServer) -> None:
    response = httpx.post(echo.url + CHAT, json=user("x") | {"model": "gpt-4"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (
        404,
        "model_not_found",
        "model",
    )
    assert "phi3-echo" in error["message"]


def test_a_prompt_over_the_context_has_its_own_code(echo: EchoServer) -> None:
    response = httpx.post(echo.url + CHAT, json=user("word " * 5000))
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/form-data", "application/xml"]
)
def test_a_wrong_content_type_gets_415(echo: EchoServer, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = httpx.post(echo.url + CHAT, content=b"{}", headers=headers)
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"


def test_a_body_of_50_mb_gets_413_by_its_length(echo: EchoServer) -> None:
    response = httpx.post(echo.url + CHAT, content=b" " * 50_000_000, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert httpx.post(echo.url + CHAT, json=user("still there?")).status_code == 200


def test_a_large_body_without_a_length_gets_413(echo: EchoServer) -> None:
    def chunks() -> Any:
        for _ in range(40):
            yield b" " * 50_000

    response = httpx.post(echo.url + CHAT, content=chunks(), headers=JSON)
    assert response.status_code == 413


def test_developer_messages_become_system_messages(echo: EchoServer) -> None:
    """Phi-3's chat template knows no `developer` and would drop the message silently."""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    job = echo.engine.parse
    seen: list[Any] = []
    echo.engine.parse = lambda *args: (seen.append(args[1]), job(*args))[1]  # type: ignore[method-assign]
    httpx.post(echo.url + CHAT, json={"messages": messages})
    assert [message["role"] for message in seen[0]["messages"]] == ["system", "user"]
