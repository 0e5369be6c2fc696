"""An answer is sent while somebody listens, and nothing goes on afterwards."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from phi3_bento.call import Call
from phi3_bento.caller import LOCAL_CALLER
from phi3_bento.core import whole
from phi3_bento.errors import EngineFailure, InvalidApiKey, Unavailable
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.responses import (
    AnswerResponse,
    error_response,
)
from tests.unit.clients import Client, assert_nothing_goes_on

CALL = Call(LOCAL_CALLER, "test", timings={"auth": 0.002})


async def answering(*items: bytes | Exception) -> AsyncGenerator[bytes, None]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def send(client: Client, *items: bytes | Exception, stream: bool) -> None:
    response = AnswerResponse(answering(*items), call=CALL, stream=stream, keep_alive_s=30)
    await response({"type": "http"}, client.receive, client.send)


async def test_a_whole_answer_has_its_length_and_timings(client: Client) -> None:
    await send(client, b'{"a": 1}', stream=False)
    assert (client.status, client.body, client.is_complete) == (200, b'{"a": 1}', True)
    assert client.headers["content-type"] == "application/json"
    assert client.headers["content-length"] == "8"
    assert client.headers["openai-processing-ms"].isdigit()
    assert client.headers["server-timing"].startswith("auth;dur=2.00, total;dur=")
    await assert_nothing_goes_on()


async def test_a_stream_is_events_and_ends_with_done(client: Client) -> None:
    await send(client, b'{"a": 1}', b'{"a": 2}', stream=True)
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["server-timing"].startswith("auth;dur=2.00, ttft;dur=")
    assert client.body == b'data: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'
    assert client.is_complete
    await assert_nothing_goes_on()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_piece_leaves_the_response_unsent(
    client: Client, stream: bool
) -> None:
    with pytest.raises(Unavailable):
        await send(client, Unavailable("Not now."), stream=stream)
    assert client.messages == []
    await assert_nothing_goes_on()


async def test_a_failure_in_a_stream_is_an_event_and_the_stream_ends_well(client: Client) -> None:
    await send(client, b"{}", EngineFailure("It broke."), stream=True)
    _, event, end = client.body.decode().split("\n\n")[:3]
    assert json.loads(event.removeprefix("data: "))["error"]["message"] == "It broke."
    assert (end, client.is_complete) == ("data: [DONE]", True)
    await assert_nothing_goes_on()


async def test_a_bug_in_a_stream_is_an_event_that_tells_nothing_and_is_raised(
    client: Client,
) -> None:
    with pytest.raises(ZeroDivisionError):
        await send(client, b"{}", ZeroDivisionError("secret"), stream=True)
    assert b'"code":"engine_failure"' in client.body
    assert b"secret" not in client.body
    await assert_nothing_goes_on()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hang_up_stops_the_answer_without_a_word(client: Client, stream: bool) -> None:
    ends: list[str] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            if stream:
                yield b"{}"
            client.gone.set()
            await asyncio.sleep(60)
            yield b"{}"
        finally:
            ends.append("stopped")

    response = AnswerResponse(pieces(), call=CALL, stream=stream, keep_alive_s=30)
    await response({"type": "http"}, client.receive, client.send)
    assert ends == ["stopped"]
    assert len(client.messages) == (2 if stream else 0)
    await assert_nothing_goes_on()


async def test_a_silent_stream_is_kept_open_by_comments(client: Client) -> None:
    kept_open = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"{}"
        await kept_open.wait()
        yield b"{}"

    async def send(message: Message) -> None:
        await client.send(message)
        if b"keep-alive" in message.get("body", b""):
            kept_open.set()

    response = AnswerResponse(pieces(), call=CALL, stream=True, keep_alive_s=0.005)
    await response({"type": "http"}, client.receive, send)
    assert client.body.startswith(b"data: {}\n\n: keep-alive\n\n")
    assert client.body.endswith(b"data: {}\n\ndata: [DONE]\n\n")
    await assert_nothing_goes_on()


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (Unavailable("Not now.", retry_after_s=2), {"retry-after": "2"}),
        (InvalidApiKey("Who?"), {"www-authenticate": "Bearer"}),
    ],
)
def test_an_error_response_has_the_error_s_status_headers_and_body(
    error: Phi3Error, headers: dict[str, str]
) -> None:
    response = error_response(error)
    document: dict[str, Any] = json.loads(bytes(response.body))
    assert (response.status_code, document["error"]["message"]) == (error.status, error.message)
    assert response.headers["content-type"] == "application/json"
    assert headers.items() <= dict(response.headers).items()


async def test_an_answer_read_whole_is_one_document() -> None:
    assert await whole(answering(b"{}")) == b"{}"
