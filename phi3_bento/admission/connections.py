"""What a connection may cost before there is a request: uvicorn's protocol, with bounds it lacks.

The door sees a request when its head is complete. Whoever sends a head or a body slowly, without
end, or reads no answer, never comes that far: they are stopped here.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from starlette.types import Scope
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from phi3_bento.ender.streams import HELD_KEY, StreamEnder
from phi3_bento.errors import HeadTooLarge, InvalidRequest, Overloaded, RequestTimeout
from phi3_bento.phi3_error import Phi3Error, to_openai

_LINGER_S = 2.0
"""A refused client may still send for this long: closed at once, it would read no answer."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take; times are in seconds."""

    connections: int = 512
    """At the same time, of all clients."""
    head_bytes: int = 32 * 2**10
    """Request line and headers together, and anything else that is not body."""
    headers: int = 100
    head_s: float = 15.0
    """From the connection, or from a request's first byte, to the end of its head."""
    body_s: float = 60.0
    """From the end of the head to that of the body."""
    write_s: float = 30.0
    """For which a client may take nothing of what waits for it."""
    idle_s: int = 95
    """From an answer to the next request. Most clients and proxies keep theirs for 90 s at most,
    and who asks should close first: a request that meets a closed connection has failed.
    """


class GuardedProtocol(HttpToolsProtocol):
    """One connection, within `limits`. Whoever goes beyond gets OpenAI's error and is closed."""

    limits = ConnectionLimits()
    ender: StreamEnder | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = self.limits.idle_s
        self._held_bytes = 0
        """Received, and neither a complete head nor body yet: the parser keeps it."""
        self._refused = False
        self._active: RequestResponseCycle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections and not self._close_longest_idle():
            self._refuse(Overloaded("Too many connections are open.", retry_after_s=1))
        else:
            self._expect_within(self.limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        if self._active is not None:  # uvicorn tells the last of pipelined requests alone
            self._active.disconnected = True
            self._active.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._reading is None and not self._is_answering:
            self._expect_within(self.limits.head_s)
        self._held_bytes += len(data)
        super().data_received(data)
        if self._held_bytes > self.limits.head_bytes:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._refuse_head()
        if self._refused:
            return
        self._held_bytes = 0
        self._expect_within(self.limits.body_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            self._held_bytes = 0
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            self._held_bytes = 0
            self._expect_nothing()
            super().on_message_complete()
            if not self._is_answering:  # refused before all of it had come
                self._expect_within(self.limits.head_s)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def send_400_response(self, msg: str) -> None:
        """Instead of uvicorn's plain text, for what is not HTTP."""
        self._refuse(InvalidRequest("This is not a valid HTTP request."))

    def _should_upgrade_to_ws(self) -> bool:
        """Nothing here speaks WebSocket."""
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """A client may ask as often as it likes: not a line of the log each time."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        if self.ender is not None:
            scope: Scope = cycle.scope  # type: ignore[assignment]  # typed without room for ours
            scope[HELD_KEY] = partial(self.ender.held, self.transport)
        super()._start_asgi_task(cycle, app)

    def _close_longest_idle(self) -> bool:
        """Make room for a client that has something to ask; False where all are at work."""
        idle = {
            each.transport: each.timeout_keep_alive_task.when()
            for each in self.connections
            if isinstance(each, GuardedProtocol)
            and each.timeout_keep_alive_task
            and not each.transport.is_closing()
        }
        if idle:
            min(idle, key=idle.__getitem__).close()
        return bool(idle)

    @property
    def _is_answering(self) -> bool:
        # uvicorn begins with None, whatever it says of the type.
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete  # type: ignore[redundant-expr]

    def _expect_within(self, limit_s: float) -> None:
        self._expect_nothing()
        self._reading = self.loop.call_later(limit_s, self._on_slow_sender)

    def _expect_nothing(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _on_slow_sender(self) -> None:
        self._reading = None
        if self._is_answering or self._held_bytes:
            self._refuse(RequestTimeout("The request did not arrive in time."))
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(
            HeadTooLarge(
                f"The headers are more than {self.limits.head_bytes} bytes, or more than "
                f"{self.limits.headers}."
            )
        )

    def _refuse(self, error: Phi3Error) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._expect_nothing()
        if self.pipeline or (self._is_answering and self.cycle.response_started):
            self.transport.abort()  # in the middle of an answer there is no place for another
            return
        if self._is_answering:
            # Whoever reads the body hears that the client has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = orjson.dumps(to_openai(error))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **error.headers,
        }
        status = HTTPStatus(error.status)
        lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        self.transport.write("\r\n".join((*lines, "", "")).encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)


def guarded(limits: ConnectionLimits, ender: StreamEnder | None = None) -> type[GuardedProtocol]:
    """The protocol with these limits, for uvicorn's `http`."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "ender": ender})


def guard_connections(limits: ConnectionLimits, ender: StreamEnder | None = None) -> None:
    """Have every uvicorn of this process that chooses its protocol by itself take the guarded one.

    BentoML starts uvicorn, after it has imported the service, and lets nobody choose.
    """
    HTTP_PROTOCOLS["auto"] = guarded(limits, ender)  # type: ignore[assignment]  # uvicorn takes a class
