"""Clients that stream from a service while it is broken, and note what they saw and when."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx

from tests.support import Service

LONG = {"max_tokens": 3500, "ignore_eos": True, "stream": True}
"""An answer that does not end before the fault."""


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


@dataclass
class Seen:
    """What one client saw of one answer."""

    request_id: str = field(default_factory=lambda: f"seen-{uuid4().hex[:12]}")
    status: int | None = None
    began_at: float | None = None
    """When the first event came; monotonic, as `ended_at`."""
    ended_at: float | None = None
    events: list[str] = field(default_factory=list)
    cut: bool = False
    """The connection broke: no end was sent."""

    @property
    def is_complete(self) -> bool:
        """It was answered in full."""
        return self.status == 200 and not self.cut and not self.failed

    @property
    def failed(self) -> bool:
        """It ended as a stream that fails has to: an error event, then the end."""
        return self.events[-1:] == ["[DONE]"] and self.events[-2].startswith('{"error"')


async def stream(client: httpx.AsyncClient, body: dict[str, Any], seen: Seen) -> Seen:
    """Read one streamed answer to its end, however it ends."""
    headers = {"x-request-id": seen.request_id}
    try:
        async with client.stream(
            "POST", "/v1/chat/completions", json=body, headers=headers
        ) as response:
            seen.status = response.status_code
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    seen.began_at = seen.began_at or monotonic()
                    seen.events.append(line.removeprefix("data: "))
            seen.cut = seen.status == 200 and seen.events[-1:] != ["[DONE]"]
    except httpx.TransportError:
        seen.cut = True
    seen.ended_at = monotonic()
    return seen


def open_client(
    service: Service, timeout_s: float = 120, key: str | None = None
) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(
        base_url=service.url, timeout=timeout_s, limits=limits, headers=headers
    )


def create_key(data_dir: Path, *options: str, **env: str) -> str:
    """A key of the deployment in `data_dir`, as an operator makes it."""
    command = [sys.executable, "-m", "phi3_bento", "keys", "create", *options]
    variables = {**os.environ, "PHI3_DATA_DIR": str(data_dir), **env}
    made = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return made.stdout.strip()


class Streams:
    """Streams that run beside a test."""

    def __init__(self, client: httpx.AsyncClient, count: int, **fields: Any) -> None:
        self.seen = [Seen() for _ in range(count)]
        bodies = [chat(f"{seen.request_id}", **{**LONG, **fields}) for seen in self.seen]
        self._tasks = [
            asyncio.create_task(stream(client, body, seen))
            for body, seen in zip(bodies, self.seen, strict=True)
        ]

    async def all_begun(self, limit_s: float = 60) -> None:
        async with asyncio.timeout(limit_s):
            while not all(seen.began_at for seen in self.seen):
                await asyncio.sleep(0.02)

    async def all_ended(self, limit_s: float = 60) -> list[Seen]:
        async with asyncio.timeout(limit_s):
            return await asyncio.gather(*self._tasks)


async def seconds_until(service: Service, path: str, status: int, limit_s: float = 60) -> float:
    """Poll a probe until it has `status`; how long that took."""
    began_at = monotonic()
    async with asyncio.timeout(limit_s), open_client(service, 5) as client:
        while True:
            try:
                if (await client.get(path)).status_code == status:
                    return monotonic() - began_at
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)
