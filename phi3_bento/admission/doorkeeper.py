"""Who is calling, and may they go where they want to? Read from a request's head alone."""

import re
import time
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.limits import Limiter
from phi3_bento.admission.throttle import AttemptThrottle
from phi3_bento.call import Call
from phi3_bento.caller import LOCAL_CALLER, Caller, Scope
from phi3_bento.errors import InvalidApiKey, InvalidRequest, PermissionDenied, RateLimited
from phi3_bento.trace_context import TraceContext

OPEN_PATHS = frozenset(
    {
        *("/livez", "/readyz", "/healthz", "/health", "/ping"),
        *("/v1/health/live", "/v1/health/ready", "/version"),
        *("/load", "/get_load"),
    }
)
"""What probes and load balancers read without a key."""

PAGE_PATH = "/ui"
"""The page and its files: open, for there is nothing in them but what is in every copy of them."""

METRICS_PATH = "/metrics"
ADMIN_PREFIX = "/admin"
MAX_SLO_MS = 600_000

_IDEMPOTENT_PREFIX = "/v1/"
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NOBODY = Caller(tenant="", key_id="", scopes=frozenset())


class Doorkeeper:
    """Names the caller of every request, and checks the scope that its path needs."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        limiter: Limiter,
        throttle: AttemptThrottle,
        open_metrics: bool,
    ) -> None:
        self._keyring = keyring
        self._limiter = limiter
        self._throttle = throttle
        self._open_paths = OPEN_PATHS | {METRICS_PATH} if open_metrics else OPEN_PATHS

    async def admit(self, scope: AsgiScope, call: Call) -> None:
        """Put the caller into `call`, or raise why they may not come in.

        Raises `InvalidApiKey`, `PermissionDenied`, `RateLimited` for an address that guesses keys,
        `InvalidRequest` for a head that cannot be understood, `Unavailable` without the key store.
        """
        if self.is_open(scope):
            return
        headers = Headers(scope=scope)
        call.slo_ttft_ms = _slo(headers.get("x-slo-ttft-ms"))
        call.is_idle = _is_idle(headers.get("x-priority"))
        call.cache_control = headers.get("cache-control")
        call.semantic_cache = _switch("x-semantic-cache", headers.get("x-semantic-cache"))
        call.caller = await self._caller(scope, headers)
        if scope["path"].startswith(_IDEMPOTENT_PREFIX):
            call.idempotency_key = _idempotency_key(headers.get("idempotency-key"))
        needed = _needed_scope(scope["path"])
        if needed not in call.caller.scopes:
            raise PermissionDenied(f"This API key lacks the scope '{needed}' for {scope['path']}.")

    def is_open(self, scope: AsgiScope) -> bool:
        """Anybody may ask this: probes, and a browser before it sends a key (CORS preflight)."""
        is_preflight = scope["method"] == "OPTIONS" and any(
            name == b"access-control-request-method" for name, _ in scope["headers"]
        )
        return is_preflight or scope["path"] in self._open_paths or is_page(scope["path"])

    async def check_left(self, call: Call) -> None:
        """Raise `RateLimited` for a caller who has no request left in this minute.

        For a batch: its items get their leases later, one by one, and could only fail inside of a
        good answer.
        """
        requests = (await self._limiter.standing(call.caller)).requests
        if requests is not None and not requests.remaining:
            raise RateLimited(
                f"The key '{call.caller.key_id}' may use {requests.limit} requests per minute: all "
                "are used.",
                retry_after_s=requests.reset_s,
                limit="requests_per_minute",
            )

    async def say_standing(self, call: Call) -> None:
        """Put the limits of the caller into the response's headers, where no lease has done so."""
        if call.has_standing or call.caller is _NOBODY:
            return
        call.headers.update((await self._limiter.standing(call.caller)).headers())

    async def _caller(self, scope: AsgiScope, headers: Headers) -> Caller:
        client, now = _address(scope.get("client")) or "unknown", time.monotonic()
        authorization = headers.get("authorization")
        try:
            caller = await self._keyring.authenticate(authorization, _address(scope.get("server")))
        except InvalidApiKey:
            # A valid key passes always: others may share the address of whoever guesses.
            self._throttle.check(client, now)
            self._throttle.note_failure(client, now)
            raise
        if caller is LOCAL_CALLER:
            _check_nearness(headers)
        return caller


def is_page(path: str) -> bool:
    """It is the page's, or of one of its files."""
    return path == PAGE_PATH or path.startswith(f"{PAGE_PATH}/")


def new_call(scope: AsgiScope) -> Call:
    """A call of nobody yet, under the client's request id if that is short and plain."""
    headers = Headers(scope=scope)
    given = headers.get("x-request-id")
    is_usable = given is not None and _REQUEST_ID.fullmatch(given)
    name = given if given is not None and is_usable else uuid4().hex
    return Call(_NOBODY, name, trace=TraceContext.read(headers.get("traceparent")))


def _needed_scope(path: str) -> Scope:
    if path == METRICS_PATH:
        return Scope.METRICS
    if path == ADMIN_PREFIX or path.startswith(ADMIN_PREFIX + "/"):
        return Scope.ADMIN
    return Scope.INFERENCE


def _slo(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_SLO_MS:
        raise InvalidRequest(
            f"The header x-slo-ttft-ms must be a whole number from 1 to {MAX_SLO_MS}.",
            param="x-slo-ttft-ms",
        )
    return int(text)


def _idempotency_key(text: str | None) -> str | None:
    if text is not None and not _IDEMPOTENCY_KEY.fullmatch(text):
        raise InvalidRequest(
            "The header Idempotency-Key must have 1 to 255 characters of ASCII, without spaces.",
            param="idempotency-key",
        )
    return text


def _is_idle(text: str | None) -> bool:
    """A client can lower its priority; only the key's terms raise it."""
    if text not in (None, "idle"):
        raise InvalidRequest("The header x-priority can only be 'idle'.", param="x-priority")
    return text is not None


def _switch(name: str, text: str | None) -> bool | None:
    if text not in (None, "on", "off"):
        raise InvalidRequest(f"The header {name} can be 'on' or 'off'.", param=name)
    return None if text is None else text == "on"


def _address(endpoint: Any) -> str | None:
    return endpoint[0] if endpoint else None


def _check_nearness(headers: Headers) -> None:
    """Refuse what comes from elsewhere through this machine, where the service is open to it.

    A page of elsewhere could call us by a name that points here (DNS rebinding), against which a
    browser's check of origins does not help; and a proxy on this machine brings anybody.
    """
    if forwarded := [name for name in _FORWARDED if name in headers]:
        raise PermissionDenied(
            f"Without API keys this service answers this machine alone, and a proxy stands before "
            f"it (header {forwarded[0]}). Create a key: phi3-bento keys create."
        )
    name = re.sub(r":\d+$", "", headers.get("host") or "localhost").strip("[]")
    try:
        is_local = ip_address(name).is_loopback
    except ValueError:
        is_local = name == "localhost" or name.endswith(".localhost")
    if not is_local:
        raise PermissionDenied(
            f"Without API keys this service is called as localhost, not as '{name[:100]}'. "
            "Create a key to serve other names: phi3-bento keys create."
        )
