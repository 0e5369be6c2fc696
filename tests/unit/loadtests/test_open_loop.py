"""The client plays its plan whatever the server does, against one that can be told to stall."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from loadtests.client import LoadFailure, play
from loadtests.records import Run
from loadtests.scenario import DEFAULT_TENANT, Load
from loadtests.scenarios import SCENARIOS
from loadtests.scenarios.burst import AGAIN, BOUND, FREE, SIZE
from tests.support import free_port

KEYS = {DEFAULT_TENANT: "p3_test_key"}
STALL_S = 1.0
USAGE = {"prompt_tokens": 20, "completion_tokens": 1}


@dataclass
class Request:
    """What arrived."""

    at: float
    number: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers as `answer` says; keeps what arrived."""

    answer: Callable[["Server", Request, asyncio.StreamWriter], object]
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                request = Request(time.monotonic(), len(self.requests), headers, body)
                self.requests.append(request)
                await self.answer(self, request, writer)  # type: ignore[misc]
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(answer: Callable[..., object]) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


def send(writer: asyncio.StreamWriter, status: int, body: object, **headers: str) -> None:
    data = json.dumps(body).encode()
    names = {"content-length": str(len(data)), "content-type": "application/json"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in names.items()]
    writer.write("\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode() + data)


async def played(name: str, load: Load, url: str) -> Run:
    return await asyncio.to_thread(play, SCENARIOS[name], load, url, KEYS)


async def test_a_server_that_stalls_is_seen_by_everyone_who_would_have_come_meanwhile() -> None:
    async def stalls_once(server: Server, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.number >= 20:
            await asyncio.sleep(server.requests[20].at + STALL_S - time.monotonic())
        send(writer, 200, {"usage": USAGE}, cache_status="phi3; fwd=miss; stored")

    load = Load(rate=40, seconds=2.5)
    async with served(stalls_once) as server:
        run = await played("decision", load, server.url)
    assert len(run.records) == len(list(SCENARIOS["decision"].shots(load)))
    assert all(record.is_ok and record.cache == "miss" for record in run.records)
    # Twenty or so were to start in the first half of the stall: each waited for the other half.
    # A client that waits for an answer before it asks again would have seen one of them.
    stalled = [record for record in run.records if record.latency_ms >= 500]
    assert len(stalled) >= 12
    assert max(record.latency_ms for record in stalled) >= 1000 * STALL_S
    assert server.requests[0].headers["authorization"] == "bearer p3_test_key"


async def test_who_is_refused_comes_back_when_told_and_is_counted_apart() -> None:
    told_ms = 300
    first: dict[bytes, float] = {}
    waits: list[float] = []

    async def refuses_once(_: Server, request: Request, writer: asyncio.StreamWriter) -> None:
        if "x-slo-ttft-ms" in request.headers and request.body not in first:
            first[request.body] = time.monotonic()
            error = {"error": {"code": "deadline_unmeetable"}}
            send(writer, 503, error, retry_after_ms=str(told_ms))
            return
        if request.body in first:
            waits.append(time.monotonic() - first[request.body])
        send(writer, 200, {"usage": USAGE})

    async with served(refuses_once) as server:
        run = await played("burst", Load(rate=SIZE / 0.5, seconds=1.0), server.url)
    by_name = {
        name: [record for record in run.records if record.name == name]
        for name in (FREE, BOUND, BOUND + AGAIN)
    }
    assert {name: len(records) for name, records in by_name.items()} == {
        FREE: SIZE,
        BOUND: SIZE,
        BOUND + AGAIN: SIZE // 10,
    }
    assert all(r.is_refused and r.retry_after_ms == told_ms for r in by_name[BOUND])
    assert all(record.is_ok for record in by_name[BOUND + AGAIN])
    assert min(waits) >= told_ms / 1000


def event(document: object) -> bytes:
    data = b"data: " + json.dumps(document).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def piece(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


async def test_a_stream_is_timed_token_by_token_and_its_end_is_asked_for() -> None:
    async def streams(_: Server, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + piece(""))
        for word in ("one", " two", " three"):
            await asyncio.sleep(0.1)
            writer.write(piece(word))
            await writer.drain()
        is_cut = request.number % 2
        end = (
            b"" if is_cut else event({"choices": [], "usage": USAGE}) + b"e\r\ndata: [DONE]\n\n\r\n"
        )
        writer.write(end + b"0\r\n\r\n")

    async with served(streams) as server:
        run = await played("chat", Load(rate=8, seconds=1.5), server.url)
    outcomes = [record.outcome for record in run.records]
    assert set(outcomes) == {"ok", "broken stream"}
    for record in run.records:
        assert record.first_ms is not None
        assert record.first_ms >= 100
        assert len(record.gaps_ms) == 2
        assert record.latency_ms >= max(300, record.first_ms + sum(record.gaps_ms))
    assert {record.prompt_tokens for record in run.records if record.is_ok} == {20}


async def test_a_server_that_is_not_there_is_an_error_of_every_request() -> None:
    run = await played("decision", Load(rate=20, seconds=0.5), f"http://127.0.0.1:{free_port()}")
    assert run.records
    assert all(record.is_error and record.status == 0 for record in run.records)


async def test_another_machine_is_not_loaded() -> None:
    with pytest.raises(LoadFailure, match="not this machine"):
        await played("decision", Load(rate=1, seconds=0.5), "http://192.0.2.1:80")
