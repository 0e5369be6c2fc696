"""A door in front of an app, and requests to it."""

import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from phi3_bento.admission.door import Door
from phi3_bento.admission.doorkeeper import Doorkeeper
from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.limits import Limiter
from phi3_bento.admission.throttle import AttemptThrottle
from phi3_bento.database import open_database
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
