"""The door of the whole service, BentoML's routes included: request id, key, and size of the body.

An ASGI middleware, because BentoML answers its native routes before any code of ours runs.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi3_bento.admission.keys import KeyGuard
from phi3_bento.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    EngineFailure,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Phi3Error,
    Unavailable,
    UnsupportedMediaType,
    to_openai,
)

REQUEST_ID_KEY = "phi3.request_id"
FAILURE_KEY = "phi3.failure"
"""Where in the scope a native operation leaves its `Phi3Error`: BentoML would hide what it says."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that did not wait; for logs and metrics, nobody receives it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

OPEN_PATHS = frozenset(
    {
        *("/livez", "/readyz", "/healthz", "/health", "/ping"),
        *("/v1/health/live", "/v1/health/ready", "/metrics", "/version"),
    }
)
"""What probes and scrapers read without a key."""


class Door:
    """Lets requests in, or refuses them in OpenAI's form; names every request.

    A client's `X-Request-Id` is kept where it is short and plain, and replaced otherwise.
    `native_paths` are answered by BentoML, whose error bodies are not OpenAI's: they are
    rewritten.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: KeyGuard,
        max_body_bytes: int,
        native_paths: Iterable[str],
    ) -> None:
        self._app = app
        self._guard = guard
        self._max_body_bytes = max_body_bytes
        self._native_paths = frozenset(native_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope[REQUEST_ID_KEY] = _request_id(headers.get("x-request-id"))
        reply = _Reply(send, scope, is_native=scope["path"] in self._native_paths)
        try:
            if scope["path"] not in OPEN_PATHS:
                self._guard.check(headers.get("authorization"), (scope.get("server") or (None,))[0])
            self._check_length(headers.get("content-length"))
            await self._app(scope, self._limited(receive), reply)
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

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self._max_body_bytes} bytes. Send less, or raise "
            "PHI3_MAX_BODY_BYTES."
        )


class _Reply:
    """Sends a response on, with the request id, and BentoML's errors in OpenAI's form."""

    def __init__(self, send: Send, scope: Scope, *, is_native: bool) -> None:
        self._send = send
        self._scope = scope
        self._request_id = scope[REQUEST_ID_KEY]
        self._is_native = is_native
        self._failed_start: Message | None = None
        self._failed_body = b""
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            MutableHeaders(scope=message)["x-request-id"] = self._request_id
            if self._is_native and message["status"] >= HTTPStatus.BAD_REQUEST:
                self._failed_start = message
                return
        elif self._failed_start is not None and message["type"] == "http.response.body":
            self._failed_body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_failure(self._failed_start["status"])
            return
        await self._send(message)

    async def refuse(self, error: Phi3Error) -> None:
        """Answer with `error` instead of the app."""
        body = orjson.dumps(to_openai(error))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": self._request_id,
            # What is left of the body is not read: the connection cannot be used again.
            **({"connection": "close"} if isinstance(error, BodyTooLarge) else {}),
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

    async def _send_failure(self, status: int) -> None:
        failure = self._scope.get(FAILURE_KEY) or _native_failure(status, self._failed_body)
        await self.refuse(failure)


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid4().hex


def _native_failure(status: int, body: bytes) -> Phi3Error:
    """The failure that BentoML's body `{"error": …, "detail": […]}`, or a list of it, speaks of."""
    classes: dict[int, type[Phi3Error]] = {
        HTTPStatus.NOT_FOUND: NotFound,
        HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaType,
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable("The service has more requests than it can answer.", retry_after_s=1)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return DeadlineExceeded("The answer did not come in time.")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineFailure("The service failed on this request; its log says why.")
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = body.decode(errors="replace") or "The request failed."
    document = _first(document)
    if not isinstance(document, dict):
        document = {"error": document}
    detail = _first(document.get("detail"))
    if not isinstance(detail, dict):
        detail = {"msg": detail}
    location = detail.get("loc")
    path = ".".join(map(str, location)) if isinstance(location, list) else ""
    message = str(detail.get("msg") or document.get("error"))
    failure = classes.get(status, InvalidRequest)
    return failure(f"{path}: {message}" if path else message, param=path or None)


def _first(value: Any) -> Any:
    """The first item of a list; anything else as it is."""
    return next(iter(value), None) if isinstance(value, list) else value
