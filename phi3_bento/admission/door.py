"""The door of the whole service, BentoML's routes included: caller, request id, size of the body.

An ASGI middleware, because BentoML answers its native routes before any code of ours runs.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi3_bento.admission.bodies import MAX_BODIES_BYTES, Bodies, Share, check_encoding
from phi3_bento.admission.doorkeeper import METRICS_PATH, PAGE_PATH, Doorkeeper, new_call
from phi3_bento.admission.reply import FAILURE_KEY, Reply
from phi3_bento.admission.rooms import Rooms
from phi3_bento.call import Call, Exchange
from phi3_bento.caller import LOCAL_CALLER
from phi3_bento.errors import BodyTooLarge, UnsupportedMediaType
from phi3_bento.phi3_error import Phi3Error

API_PREFIXES = ("/v1/", "/admin/", f"{PAGE_PATH}/")

_PASSED = "phi3.passed"
"""What in the scope says that the request came through the door already."""

_call: ContextVar[Call] = ContextVar("phi3_call")


def current_call() -> Call:
    """The call that is being answered; outside of one, as at the start, that of this machine.

    A context variable, because BentoML hands its native operations no more than their arguments.
    """
    return _call.get(None) or Call(LOCAL_CALLER, "internal")


@dataclass(frozen=True, slots=True)
class OwnApi:
    """Our app, which answers `paths` and what begins with `API_PREFIXES`, past BentoML."""

    app: ASGIApp
    paths: Collection[str]
    templates: frozenset[str] = frozenset()
    """Its routes that are one path each."""

    def has(self, path: str) -> bool:
        """The app answers `path`, if only with 404."""
        return path in self.paths or path.startswith(API_PREFIXES)


async def _nothing() -> None:
    """Where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who wants to know what happens at the door."""

    on_start: Callable[[Call], None] = lambda _: None
    """Hears of every request before anything is known of it but its head."""
    on_end: Callable[[Exchange], None] = lambda _: None
    """Hears of every request when it has ended."""
    before_metrics: Callable[[], Awaitable[None]] = _nothing
    """Runs before /metrics is read."""


def logged_call() -> dict[str, str]:
    """What a line of the log says of the call for which it was written."""
    call = _call.get(None)
    return {} if call is None else {"request_id": call.request_id, "trace_id": call.trace.trace}


class Door:
    """Lets requests in, or refuses them in OpenAI's form; names every request.

    A client's `X-Request-Id` is kept where it is short and plain, and replaced otherwise.
    `native_paths` are answered by BentoML, whose error bodies are not OpenAI's: they are
    rewritten.

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
        own: OwnApi | None = None,
        hooks: Hooks = Hooks(),
    ) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._max_body_bytes = max_body_bytes
        self._bodies = Bodies(max(MAX_BODIES_BYTES, max_body_bytes))
        self._native_paths = frozenset(native_paths)
        self._own = own
        self._paths = self._native_paths | (own.templates if own else frozenset())
        self._hooks = hooks
        self._rooms = Rooms(self._paths)

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
        if self._own is not None and isinstance(frame, Starlette) and frame.middleware_stack:
            door = copy(self)
            door._app = frame.middleware_stack
            door._rooms = Rooms(self._paths, frame)
            frame.middleware_stack = door

    def _next(self, path: str) -> ASGIApp:
        if self._own is not None and self._own.has(path):
            return self._own.app
        return self._rooms.find(path) or self._app

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_PASSED] = True
        call = new_call(scope)
        _call.set(call)
        self._hooks.on_start(call)
        is_native = scope["path"] in self._native_paths
        reply = Reply(send, scope, call, self._doorkeeper, is_native=is_native)
        try:
            await self._let_through(scope, receive, reply, is_native)
        finally:
            route = self._rooms.template(scope)
            self._hooks.on_end(Exchange(call, scope["method"], route, reply.status, reply.refusal))

    async def _let_through(
        self, scope: Scope, receive: Receive, reply: Reply, is_native: bool
    ) -> None:
        call = reply.call
        try:
            with call.timed("auth"):
                await self._doorkeeper.admit(scope, call)
            if scope["path"] == METRICS_PATH:
                await self._hooks.before_metrics()
            headers = Headers(scope=scope)
            if is_native:
                _check_is_json(scope["method"], headers.get("content-type"))
                await self._doorkeeper.check_left(call)
            self._check_length(headers.get("content-length"))
            check_encoding(headers.get("content-encoding"))
            with self._bodies.share() as share:
                receive = self._limited(scope, receive, share)
                await self._next(scope["path"])(scope, receive, reply)
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

    def _limited(self, scope: Scope, receive: Receive, share: Share) -> Receive:
        async def limited() -> Message:
            message = await receive()
            try:
                share.take(len(message.get("body", b"")))
                if share.taken > self._max_body_bytes:
                    raise self._too_large()
            except Phi3Error as error:
                # BentoML would make a failure of the service of it.
                scope[FAILURE_KEY] = error
                raise
            return message

        return limited

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self._max_body_bytes} bytes. Send less, or raise "
            "PHI3_MAX_BODY_BYTES."
        )


def _check_is_json(method: str, content_type: str | None) -> None:
    """Refuse what BentoML would take besides: forms, which any web page may send anywhere."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if method == "POST" and media_type != "application/json":
        raise UnsupportedMediaType("Send the body as 'Content-Type: application/json'.")
