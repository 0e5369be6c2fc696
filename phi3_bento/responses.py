"""Send an answer, whole or as server-sent events, and stop working when nobody listens."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from time import monotonic
from typing import Any, TypeVar

import orjson
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from phi3_bento.call import Call
from phi3_bento.core import whole
from phi3_bento.ender.streams import HELD_KEY
from phi3_bento.errors import EngineFailure, Unavailable
from phi3_bento.phi3_error import Phi3Error, to_openai

T = TypeVar("T")

_END_OF_STREAM = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def error_response(error: Phi3Error) -> Response:
    """The HTTP response for a failure, in OpenAI's form."""
    return Response(
        orjson.dumps(to_openai(error)),
        status_code=error.status,
        media_type="application/json",
        headers=error.headers,
    )


class ClientGone(Exception):
    """The client hung up before its answer was complete; nobody is left to tell."""


async def run_while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; as soon as the client hangs up, cancel it and raise `ClientGone`.

    The request's body must have been read before.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return await task
        raise ClientGone
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            # A drain may have cut it off at the same moment: nobody is left to tell.
            with suppress(asyncio.CancelledError, Phi3Error):
                await task


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class AnswerResponse(Response):
    """An answer that is still to be made: `pieces` is run while the client is connected.

    The first piece is awaited before the response starts, so that early failures keep their
    status. Later ones become an error event; a stream is never just cut short.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        call: Call,
        stream: bool,
        keep_alive_s: float,
        load_headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(media_type=None)
        self._pieces = pieces
        self._stream = stream
        self._keep_alive_s = keep_alive_s
        self._call = call
        self._load_headers = load_headers
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = scope.get(HELD_KEY, nullcontext)
        with suppress(ClientGone):
            await run_while_connected(receive, self._send(send, held))

    async def _send(self, send: Send, held: Callable[[], AbstractContextManager[None]]) -> None:
        if not self._stream:
            document = await whole(self._pieces)
            await send(self._start(_json_headers(document), "total"))
            await send({"type": "http.response.body", "body": document})
            return
        async with aclosing(self._pieces) as pieces:
            first = await anext(pieces)
            await send(self._start(_EVENT_STREAM, "ttft"))
            with held():
                await self._send_events(first, pieces, send)

    async def _send_events(
        self, first: bytes, pieces: AsyncGenerator[bytes, None], send: Send
    ) -> None:
        keeper = asyncio.create_task(self._keep_alive(send))
        try:
            await self._body(send, _event(first))
            async for piece in pieces:
                await self._body(send, _event(piece))
        except Phi3Error as error:
            await self._body(send, _error_event(error))
        except Exception:
            failure = EngineFailure("The answer could not be finished.")
            await self._body(send, _error_event(failure))
            raise
        finally:
            keeper.cancel()
        await send({"type": "http.response.body", "body": _END_OF_STREAM})

    def _start(self, headers: list[tuple[bytes, bytes]], timing: str) -> Message:
        milliseconds = (monotonic() - self._call.started_at) * 1000
        timings = [
            (b"openai-processing-ms", b"%d" % round(milliseconds)),
            (b"server-timing", self._call.server_timing(timing).encode()),
        ]
        load = [(name.encode(), value.encode()) for name, value in self._load_headers().items()]
        return {"type": "http.response.start", "status": 200, "headers": headers + timings + load}

    async def _keep_alive(self, send: Send) -> None:
        while True:
            silence_s = monotonic() - self._sent_at
            if silence_s >= self._keep_alive_s:
                await self._body(send, _KEEP_ALIVE)
            else:
                await asyncio.sleep(self._keep_alive_s - silence_s)

    def _body(self, send: Send, body: bytes) -> Awaitable[None]:
        self._sent_at = monotonic()
        return send({"type": "http.response.body", "body": body, "more_body": True})


def last_words() -> bytes:
    """What ends a stream whose process was killed, as its chunked body has it."""
    error = Unavailable("The process that answered has ended. Send the request again.")
    words = _error_event(error) + _END_OF_STREAM
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(words), words)


def _error_event(error: Phi3Error) -> bytes:
    return _event(orjson.dumps(to_openai(error)))


def _event(document: bytes) -> bytes:
    return b"data: " + document + b"\n\n"


def _json_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
