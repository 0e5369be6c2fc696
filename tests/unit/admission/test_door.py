"""The door names, guards and limits every request, and speaks OpenAI's language of errors."""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from phi3_bento.admission.door import Door, Hooks, current_call, logged_call
from phi3_bento.admission.doorkeeper import OPEN_PATHS, Doorkeeper
from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.limits import Limiter
from phi3_bento.admission.reply import FAILURE_KEY
from phi3_bento.admission.throttle import AttemptThrottle
from phi3_bento.call import Exchange
from phi3_bento.database import open_database
from phi3_bento.errors import EngineFailure, PermissionDenied, Unavailable
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.tables import metadata

KEY = "a-key-of-sixteen-characters"
NATIVE = "/classify"
LIMIT = 1000
GENERATED = re.compile(r"[0-9a-f]{32}")

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def answering(status: int = 200, body: bytes = b"{}", chunk: int = 10**6) -> App:
    """An app that reads the whole request and answers in chunks."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"x-own", b"kept")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for start in range(0, len(body), chunk):
            part = body[start : start + chunk]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def request(
    app: ASGIApp,
    path: str = "/v1/models",
    *,
    key: str | None = KEY,
    address: str = "127.0.0.1",
    content: bytes | AsyncIterator[bytes] = b"",
    headers: dict[str, str] | list[tuple[bytes, bytes]] | None = None,
) -> httpx.Response:
    """What the door around `app` answers on `address`."""
    async with doorkeeper(key) as keeper:
        door = Door(app, doorkeeper=keeper, max_body_bytes=LIMIT, native_paths=[NATIVE])
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{address}") as client:
            client.headers["content-type"] = "application/json"
            return await client.post(path, content=content, headers=headers)


@asynccontextmanager
async def doorkeeper(key: str | None) -> AsyncIterator[Doorkeeper]:
    """Knows `key` and no other; with None there is no key at all."""
    with tempfile.TemporaryDirectory() as directory:
        database = open_database(f"sqlite:///{directory}/phi3.db")
        try:
            async with database.begin() as connection:
                await connection.run_sync(metadata.create_all)
            yield Doorkeeper(
                Keyring(KeyStore(database, b"secret"), b"secret", api_key=key),
                limiter=Limiter.from_url("memory://"),
                throttle=AttemptThrottle(),
                open_metrics=False,
            )
        finally:
            await database.dispose()


def bearer(key: str = KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_wrong_key_gets_401_that_says_how_to_authenticate() -> None:
    response = await request(answering(), headers=bearer("wrong"))
    assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/json"
    assert GENERATED.fullmatch(response.headers["x-request-id"])


async def test_the_app_does_not_hear_of_a_refused_request() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope["path"])
        await answering()(scope, receive, send)

    await request(app)
    assert heard == []
    await request(app, headers=bearer())
    assert heard == ["/v1/models"]


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
async def test_probes_and_scrapers_need_no_key(path: str) -> None:
    assert (await request(answering(), path, address="192.0.2.1")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1/models", NATIVE, "/schema.json", "/health/", "//health", "/metrics"),
        *("/metrics/x", "/LIVEZ", "/admin/usage"),
    ],
)
async def test_every_other_path_needs_the_key(path: str) -> None:
    assert (await request(answering(), path)).status_code == 401
    assert (await request(answering(), path, headers=bearer())).status_code == 200


async def test_without_a_key_only_this_machine_is_answered() -> None:
    assert (await request(answering(), key=None)).status_code == 200
    assert (await request(answering(), key=None, address="[::1]")).status_code == 200
    response = await request(answering(), key=None, address="192.0.2.1")
    assert (response.status_code, error_of(response)["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "192.0.2.1"])
async def test_without_a_key_a_name_that_only_points_here_is_refused(host: str) -> None:
    """A page of elsewhere could have its own name resolve to this machine (DNS rebinding)."""
    response = await request(answering(), key=None, headers={"host": host})
    assert (response.status_code, error_of(response)["code"]) == (403, "permission_denied")
    assert (await request(answering(), headers={**bearer(), "host": host})).status_code == 200


@pytest.mark.parametrize("host", ["localhost:11403", "127.0.0.1", "[::1]:80", "x.localhost"])
async def test_without_a_key_every_name_of_this_machine_is_answered(host: str) -> None:
    assert (await request(answering(), key=None, headers={"host": host})).status_code == 200


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip"])
async def test_without_a_key_what_a_proxy_brings_is_refused(name: str) -> None:
    response = await request(answering(), key=None, headers={name: "203.0.113.9"})
    assert (response.status_code, error_of(response)["code"]) == (403, "permission_denied")
    assert (await request(answering(), headers={**bearer(), name: "x"})).status_code == 200


async def test_a_browser_s_preflight_needs_no_key() -> None:
    async with doorkeeper(KEY) as keeper:
        door = Door(answering(), doorkeeper=keeper, max_body_bytes=LIMIT, native_paths=[])
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            asked = {"access-control-request-method": "POST"}
            assert (await client.options("/v1/models", headers=asked)).status_code == 200
            assert (await client.options("/v1/models")).status_code == 401
            assert (await client.get("/v1/models", headers=asked)).status_code == 401


async def test_an_address_that_guesses_keys_must_wait_and_a_valid_key_passes_nevertheless() -> None:
    async with doorkeeper(KEY) as keeper:
        door = Door(answering(), doorkeeper=keeper, max_body_bytes=LIMIT, native_paths=[])
        transport = httpx.ASGITransport(app=door, client=("192.0.2.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            tried = [(await client.get("/", headers=bearer("wrong"))) for _ in range(31)]
            assert [answer.status_code for answer in tried] == [401] * 30 + [429]
            assert 0 < int(tried[-1].headers["retry-after"]) <= 60
            assert (await client.get("/", headers=bearer())).status_code == 200
        other = httpx.ASGITransport(app=door, client=("192.0.2.10", 1))
        async with httpx.AsyncClient(transport=other, base_url="http://x") as client:
            assert (await client.get("/")).status_code == 401


@pytest.mark.parametrize("slo", ["0", "-1", "1.5", "soon", "600001", "9" * 50, "٣"])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(slo: str) -> None:
    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"x-slo-ttft-ms", slo.encode())]
    response = await request(answering(), headers=headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "x-slo-ttft-ms")


@pytest.mark.parametrize("priority", ["high", "IDLE", "", "-1", "idle, high"])
async def test_a_priority_can_only_be_lowered(priority: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-priority": priority}
    response = await request(answering(), headers=headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "x-priority")


@pytest.mark.parametrize(("headers", "is_idle"), [({"x-priority": "idle"}, True), ({}, False)])
async def test_a_request_may_want_to_go_last(headers: dict[str, str], is_idle: bool) -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_call().is_idle)
        await answering()(scope, receive, send)

    await request(app, headers={"authorization": f"Bearer {KEY}", **headers})
    assert seen == [is_idle]


@pytest.mark.parametrize("given_id", ["a", "req_1.2:3-4", "x" * 128])
async def test_a_plain_request_id_is_kept(given_id: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_call().request_id)
        await answering()(scope, receive, send)

    response = await request(app, headers={**bearer(), "x-request-id": given_id})
    assert response.headers["x-request-id"] == given_id
    assert seen == [given_id]


@given(given_id=st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=140))
@example(given_id="x" * 128)
@example(given_id="x" * 129)
@example(given_id="valid-1\n")
def test_a_request_id_is_kept_if_it_is_short_and_plain_and_replaced_otherwise(
    given_id: str,
) -> None:
    headers = {**bearer(), "x-request-id": given_id}
    answered = asyncio.run(request(answering(), headers=headers)).headers["x-request-id"]
    if 0 < len(given_id) <= 128 and all(char.isalnum() or char in "._:-" for char in given_id):
        assert answered == given_id
    else:
        assert GENERATED.fullmatch(answered)


async def test_a_body_up_to_the_limit_is_read() -> None:
    response = await request(answering(), content=b"x" * LIMIT, headers=bearer())
    assert response.status_code == 200


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the app was called")

    response = await request(app, content=b"x" * (LIMIT + 1), headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
    assert "PHI3_MAX_BODY_BYTES" in error_of(response)["message"]


async def test_a_body_that_does_not_say_its_length_is_read_up_to_the_limit() -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100
            yield b"x" * 100

    response = await request(answering(), content=chunks(), headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
    assert sent == LIMIT + 100


async def test_a_failure_after_the_answer_began_is_not_hidden() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise EngineFailure("It broke.")

    with pytest.raises(EngineFailure):
        await request(app, headers=bearer())


async def test_an_app_that_says_nothing_is_closed_with_nginx_s_status() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    assert (await request(app, headers=bearer())).status_code == 499


async def test_the_lifespan_goes_through_and_a_websocket_does_not() -> None:
    heard: list[Scope] = []
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async with doorkeeper(KEY) as keeper:
        door = Door(app, doorkeeper=keeper, max_body_bytes=LIMIT, native_paths=[])
        await door({"type": "lifespan"}, _unused, _unused)
        await door({"type": "websocket"}, _unused, send)
    assert heard == [{"type": "lifespan"}]
    assert sent == ["websocket.close"]


async def _unused(*_: Any) -> Any:
    raise AssertionError("nothing is received or sent")


DETAIL = {"error": "1 validation error", "detail": [{"loc": ["items", 0], "msg": "too long"}]}


@pytest.mark.parametrize(
    ("status", "body", "message", "param", "code"),
    [
        (400, DETAIL, "items.0: too long", "items.0", None),
        (400, [{"error": "Invalid JSON"}], "Invalid JSON", None, None),
        (400, {"error": "no detail", "detail": []}, "no detail", None, None),
        (400, {"detail": [{"loc": [], "msg": "bad"}]}, "bad", None, None),
        (404, {"error": "nothing here"}, "nothing here", None, "not_found"),
        (415, [{"error": "send JSON"}], "send JSON", None, "unsupported_media_type"),
        (405, b"Method Not Allowed", "Method Not Allowed", None, "method_not_allowed"),
    ],
)
async def test_an_error_of_bentoml_is_said_in_openai_s_form(
    status: int, body: Any, message: str, param: str | None, code: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await request(answering(status, raw, chunk=7), NATIVE, headers=bearer())
    assert response.status_code == status
    assert error_of(response) == {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "method_not_allowed")])
async def test_a_wrong_path_or_method_anywhere_is_told_in_openai_s_form(
    status: int, code: str
) -> None:
    """BentoML answers what is beside our routes and its operations, and that in plain text."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"No"})

    response = await request(app, "/livez")
    assert (response.status_code, error_of(response)["code"]) == (status, code)


async def test_a_native_body_that_turns_out_too_large_is_no_failure_of_the_service() -> None:
    """BentoML takes whatever comes up while it reads a body for a failure of its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answering()(scope, receive, send)
        except Phi3Error:
            await answering(500)(scope, _emptied, send)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * LIMIT

    response = await request(app, NATIVE, content=chunks(), headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")


async def _emptied() -> Any:
    return {"type": "http.request", "body": b""}


async def test_what_broke_inside_is_not_told() -> None:
    body = b'{"error": "Traceback: secret"}'
    response = await request(answering(500, body), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (500, "engine_failure")
    assert "secret" not in response.text


async def test_a_full_queue_of_bentoml_stays_503_and_says_when_to_come_back() -> None:
    """Its dispatcher refuses batched requests that would be late."""
    response = await request(answering(503, b"{}"), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (503, "service_unavailable")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_timeout_of_bentoml_stays_504() -> None:
    response = await request(answering(504, b"{}"), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    "failure", [Unavailable("The engine starts.", retry_after_s=5), PermissionDenied("Not you.")]
)
async def test_a_failure_that_a_native_operation_left_behind_is_told_as_it_is(
    failure: Phi3Error,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[FAILURE_KEY] = failure
        await answering(failure.status, b'{"error": "An unexpected error"}')(scope, receive, send)

    response = await request(app, NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["message"]) == (
        failure.status,
        failure.message,
    )
    assert failure.headers.items() <= dict(response.headers).items()


async def test_answers_that_are_no_errors_and_paths_that_are_not_native_stay_as_they_are() -> None:
    good = await request(answering(200, b"[1, 2]", chunk=2), NATIVE, headers=bearer())
    other = await request(answering(400, b"[1, 2]"), "/v1/models", headers=bearer())
    assert (good.status_code, good.content, good.headers["x-own"]) == (200, b"[1, 2]", "kept")
    assert (other.status_code, other.content, other.headers["x-own"]) == (400, b"[1, 2]", "kept")


json_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.fixed_dictionaries({}, optional={"error": inner, "detail": inner, "loc": inner})
    ),
    max_leaves=6,
).map(lambda document: json.dumps(document).encode())


@given(status=st.integers(400, 599), body=st.binary(max_size=50) | json_bodies)
@example(status=499, body=b"")
@example(status=400, body=b'"text"')
@example(status=400, body=b'{"detail": "Not Found"}')
@example(status=400, body=b'{"detail": [{"loc": 7, "msg": "x"}]}')
def test_whatever_a_native_error_looks_like_the_client_reads_openai_s_form(
    status: int, body: bytes
) -> None:
    response = asyncio.run(request(answering(status, body), NATIVE, headers=bearer()))
    assert 400 <= response.status_code < 600
    assert isinstance(error_of(response)["message"], str)


async def test_what_is_logged_within_a_request_names_it_and_its_trace() -> None:
    seen: list[dict[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(logged_call())
        await answering()(scope, receive, send)

    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {**bearer(), "x-request-id": "my-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await asyncio.create_task(request(app, headers=headers))
    assert seen == [{"request_id": "my-1", "trace_id": trace}]
    assert logged_call() == {}


async def test_whoever_wants_to_know_hears_how_every_request_began_and_ended() -> None:
    ended: list[Exchange] = []
    hooks = Hooks(
        on_start=lambda call: call.headers.update({"x-began": call.request_id}),
        on_end=ended.append,
    )
    async with doorkeeper(KEY) as keeper:
        door = Door(
            answering(201),
            doorkeeper=keeper,
            max_body_bytes=LIMIT,
            native_paths=[NATIVE],
            hooks=hooks,
        )
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            client.headers["authorization"] = f"Bearer {KEY}"
            good = await client.post(NATIVE, json={}, headers={"x-request-id": "my-1"})
            await client.post("/odd", json={}, headers={"authorization": "Bearer wrong"})
    assert good.headers["x-began"] == "my-1"
    assert [(each.route, each.status) for each in ended] == [(NATIVE, 201), ("none", 401)]
    assert [each.refusal and each.refusal.code for each in ended] == [None, "invalid_api_key"]
    assert ended[0].seconds > 0
