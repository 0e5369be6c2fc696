"""The answer on its way out: named, with the caller's limits, and errors in OpenAI's form."""

from http import HTTPStatus

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

from phi3_bento.admission.doorkeeper import Doorkeeper
from phi3_bento.admission.native_failure import native_failure
from phi3_bento.call import Call
from phi3_bento.phi3_error import Phi3Error, to_openai

FAILURE_KEY = "phi3.failure"
"""Where in the scope a native operation leaves its `Phi3Error`: BentoML would hide what it says."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that did not wait; for logs and metrics, nobody receives it."""

PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)
"""For the pages of BentoML: they come with a script that fetches Google's Tag Manager, which would
run beside our page and could call an open service."""

_PATH_FAILURES = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class Reply:
    """Sends a response on, with the request id, and BentoML's errors in OpenAI's form."""

    def __init__(
        self, send: Send, scope: Scope, call: Call, doorkeeper: Doorkeeper, *, is_native: bool
    ) -> None:
        self._send = send
        self._scope = scope
        self.call = call
        self._doorkeeper = doorkeeper
        self._is_native = is_native
        self._failed_start: Message | None = None
        self._failed_body = b""
        self.started = False
        self.status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        """What was answered; of an answer that never began, what the server makes of that."""
        self.refusal: Phi3Error | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            await self._doorkeeper.say_standing(self.call)
            headers = MutableHeaders(scope=message)
            headers.update(self._headers())
            self._complete(headers)
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
        self.status, self.refusal = int(error.status), error
        body = orjson.dumps(to_openai(error))
        await self._doorkeeper.say_standing(self.call)
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
        self.status = CLIENT_CLOSED_REQUEST
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

    def _complete(self, headers: MutableHeaders) -> None:
        """Add what BentoML does not say of its own answers."""
        if headers.get("content-type", "").startswith("text/html"):
            headers.setdefault("content-security-policy", PAGE_POLICY)
            headers.setdefault("x-content-type-options", "nosniff")
        if self._is_native and "content-length" in headers:
            headers.setdefault("server-timing", self.call.server_timing("total"))

    def _headers(self) -> dict[str, str]:
        return {"x-request-id": self.call.request_id, **self.call.headers}

    async def _send_failure(self, status: int) -> None:
        failure = self._scope.get(FAILURE_KEY) or native_failure(status, self._failed_body)
        await self.refuse(failure)
