"""The door of the whole service, BentoML's routes included: caller, request id, size of the body.

An ASGI middleware, because BentoML answers its native routes before any code of ours runs.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from copy import copy
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi3_bento.admission.doorkeeper import PAGE_PATH, Doorkeeper, new_call
from phi3_bento.admission.native_failure import native_failure
from phi3_bento.core import LOCAL_CALLER, Call
from phi3_bento.errors import (
    BodyTooLarge,
    Phi3Error,
    UnsupportedMediaType,
    to_openai,
)

FAILURE_KEY = "phi3.failure"
"""Where in the scope a native operation leaves its `Phi3Error`: BentoML would hide what it says."""

API_PREFIXES = ("/v1/", "/admin/", f"{PAGE_PATH}/")

_PASSED = "phi3.passed"
"""What in the scope says that the request came through the door already."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that did not wait; for logs and metrics, nobody receives it."""

_PATH_FAILURES = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)

_call: ContextVar[Call] = ContextVar("phi3_call")


def current_call() -> Call:
    """The call that is being answered; outside of one, as at the start, that of this machine.

    A context variable, because BentoML hands its native operations no more than their arguments.
    """
    return _call.get(None) or Call(LOCAL_CALLER, "internal")


class Door:
    """Lets requests in, or refuses them in OpenAI's form; names every request.

    A client's `X-Request-Id` is kept where it is short and plain, and replaced otherwise.
    `native_paths` are answered by BentoML, whose error bodies are not OpenAI's: they are
    rewritten. `api` answers `api_paths` and what begins with `API_PREFIXES`.

    BentoML takes it as a middleware behind its own (traces, access log, metrics), which cost a
    cache hit more than all else. When the service starts it moves before them, and they see only
    what is BentoML's to answer (ADR 4).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        doorkeeper: Doorkeeper,
        max_body_bytes: int,
        native_paths: Iterable[str] = (),
        api: ASGIApp | None = None,
        api_paths: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._max_body_bytes = max_body_bytes
        self._native_paths = frozenset(native_paths)
        self._api = api
        self._api_paths = frozenset(api_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._move_before(scope.get("app"))
            await self._app(scope, receive, send)
        elif _PASSED in scope:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            # Nothing here speaks WebSocket, and nothing may pass unseen.
            await send({"type": "websocket.close", "code": 1000})

    def _move_before(self, frame: Any) -> None:
        """Take the place before `frame`, the Starlette app in which this is a middleware."""
        if self._api is not None and isinstance(frame, Starlette) and frame.middleware_stack:
            door = copy(self)
            door._app = frame.middleware_stack
            frame.middleware_stack = door

    def _next(self, path: str) -> ASGIApp:
        is_api = path in self._api_paths or path.startswith(API_PREFIXES)
        return self._api if is_api and self._api is not None else self._app

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_PASSED] = True
        call = new_call(scope)
        _call.set(call)
        is_native = scope["path"] in self._native_paths
        reply = _Reply(send, scope, call, self._doorkeeper, is_native=is_native)
        try:
            with call.timed("auth"):
                await self._doorkeeper.admit(scope, call)
            headers = Headers(scope=scope)
            if is_native:
                _check_is_json(scope["method"], headers.get("content-type"))
                await self._doorkeeper.check_left(call)
            self._check_length(headers.get("content-length"))
            await self._next(scope["path"])(scope, self._limited(scope, receive), reply)
            if not reply.started:
                # The client hung up. BentoML's timeout middleware waits for a first message
                # nevertheless, for its whole limit, and with it a shutdown.
                await reply.close()
        except Phi3Error as error:
            if reply.started:
                raise
            await reply.refuse(error)

    def _check_length(self, length: str | None) -> None:
        if length is not None and length.isdigit() and int(length) > self._max_body_bytes:
            raise self._too_large()

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                # BentoML would make a failure of the service of it.
                scope[FAILURE_KEY] = self._too_large()
                raise scope[FAILURE_KEY]
            return message

        return limited

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self._max_body_bytes} bytes. Send less, or raise "
            "PHI3_MAX_BODY_BYTES."
        )


class _Reply:
    """Sends a response on, with the request id, and BentoML's errors in OpenAI's form."""

    def __init__(
        self, send: Send, scope: Scope, call: Call, doorkeeper: Doorkeeper, *, is_native: bool
    ) -> None:
        self._send = send
        self._scope = scope
        self._call = call
        self._doorkeeper = doorkeeper
        self._is_native = is_native
        self._failed_start: Message | None = None
        self._failed_body = b""
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            await self._doorkeeper.say_standing(self._call)
            MutableHeaders(scope=message).update(self._headers())
            if self._is_bentoml_s_failure(message):
                self._failed_start = message
                return
        elif self._failed_start is not None and message["type"] == "http.response.body":
            self._failed_body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_failure(self._failed_start["status"])
            return
        await self._send(message)

    async def refuse(self, error: Phi3Error) -> None:
        """Answer with `error` instead of the app.

        The server reads what is left of the body and drops it: who still sends when the connection
        is closed is reset, and reads no answer.
        """
        body = orjson.dumps(to_openai(error))
        await self._doorkeeper.say_standing(self._call)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **self._headers(),
            **error.headers,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def close(self) -> None:
        """Answer somebody who is no longer there."""
        start = {"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []}
        await self._send(start)
        await self._send({"type": "http.response.body"})

    def _is_bentoml_s_failure(self, start: Message) -> bool:
        """Of a native operation, or of a wrong path or method, told in plain text."""
        status = start["status"]
        if self._is_native:
            return bool(status >= HTTPStatus.BAD_REQUEST)
        kind = Headers(raw=start["headers"]).get("content-type", "")
        return status in _PATH_FAILURES and kind.startswith("text/plain")

    def _headers(self) -> dict[str, str]:
        return {"x-request-id": self._call.request_id, **self._call.headers}

    async def _send_failure(self, status: int) -> None:
        failure = self._scope.get(FAILURE_KEY) or native_failure(status, self._failed_body)
        await self.refuse(failure)


def _check_is_json(method: str, content_type: str | None) -> None:
    """Refuse what BentoML would take besides: forms, which any web page may send anywhere."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if method == "POST" and media_type != "application/json":
        raise UnsupportedMediaType("Send the body as 'Content-Type: application/json'.")
