"""Nobody without a key comes in, and no body that is too large."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from phi3_bento.admission.door import Door, Hooks, logged_call
from phi3_bento.admission.doorkeeper import OPEN_PATHS
from phi3_bento.call import Exchange
from phi3_bento.errors import EngineFailure
from tests.unit.admission.doors import (
    GENERATED,
    KEY,
    LIMIT,
    NATIVE,
    answering,
    bearer,
    doorkeeper,
    error_of,
    request,
)


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
