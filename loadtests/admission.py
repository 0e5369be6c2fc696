"""What admission and ledger cost: CPU of a request on the echo engine, beside the bare route.

    python -m loadtests.admission

`full` is the service's own app behind its door: a stored key with every limit, counted in memory,
and a row in SQLite for every request. `bare` is one Starlette route over the same engine, without
any of it. Both run at the same time and are asked in turns by another process. Exit code 1 when
the difference is above `--budget-ms`.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import aiohttp
import orjson
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from phi3_bento.admission.door import Door
from phi3_bento.admission.key_store import KeyStore, KeyTerms
from phi3_bento.app import Application
from phi3_bento.caller import Quota
from phi3_bento.core import Operation, whole
from phi3_bento.database import open_database, upgrade
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.secret import load_secret
from phi3_bento.settings import Settings
from tests.support import free_port, wait_for

PATH = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Is this good?"}], "max_tokens": 1}
PLENTY = 10**9


def bare_app() -> Starlette:
    """Read JSON, run the engine, answer."""
    engine = EchoEngine()

    async def answer(request: Request) -> Response:
        body = orjson.loads(await request.body())
        job = engine.parse(Operation.CHAT, body, "bare")
        return Response(await whole(engine.run(job)), media_type="application/json")

    return Starlette(routes=[Route(PATH, answer, methods=["POST"])])


def full_app(directory: Path) -> Door:
    """The whole way of a request, but for BentoML's frame."""
    application = Application(Settings(data_dir=directory, engine="echo"))
    return Door(application.api, native_paths=(), **application.door_options())


async def create_key(directory: Path) -> str:
    """A key with every limit."""
    database = open_database(f"sqlite:///{directory}/phi3.db")
    await upgrade(database)
    quota = Quota(PLENTY, PLENTY, PLENTY, PLENTY)
    store = KeyStore(database, load_secret(None, directory))
    _, token = await store.create(KeyTerms(tenant="load", quota=quota))
    await database.dispose()
    return token


def serve(kind: str, port: int, directory: Path) -> None:
    """Serve one of the two, as BentoML would: uvloop, httptools, no access log."""
    app = bare_app() if kind == "bare" else full_app(directory)
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", loop="uvloop", http="httptools"
    )


@contextmanager
def server(kind: str, directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server process of its own, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.admission", "--serve", kind, "--port", str(port)]
    process = subprocess.Popen([*command, "--directory", str(directory)])  # noqa: S603  # ourselves
    try:
        wait_for(lambda: _listens(port), f"{kind} listens")
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def ask(url: str, key: str, requests: int, connections: int) -> None:
    """Send `requests` over `connections`; every one must be answered."""
    remaining = iter(range(requests))
    headers = {"authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as client:

        async def connection() -> None:
            for _ in remaining:
                async with client.post(url + PATH, json=BODY) as response:
                    await response.read()
                    response.raise_for_status()

        await asyncio.gather(*(connection() for _ in range(connections)))


def cpu_ms(process: psutil.Process) -> float:
    """CPU that the process has used in all its threads, milliseconds."""
    times = process.cpu_times()
    return float(times.user + times.system) * 1000


def measure(options: argparse.Namespace) -> int:
    """Measure, print a Markdown table, compare with the budget."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = asyncio.run(create_key(directory))
        servers = {kind: stack.enter_context(server(kind, directory)) for kind in ("bare", "full")}
        costs: dict[str, list[float]] = {kind: [] for kind in servers}
        for number in range(options.rounds + 1):
            for kind, (url, process) in servers.items():
                before = cpu_ms(process)
                asyncio.run(ask(url, key, options.requests, options.connections))
                if number:  # the first round warms up
                    costs[kind].append((cpu_ms(process) - before) / options.requests)
    differences = [full - bare for bare, full in zip(costs["bare"], costs["full"], strict=True)]
    low, middle, high = statistics.quantiles(differences, n=4)
    print(f"{options.requests} requests a round, {options.connections} connections\n")
    print("| | CPU of the server, ms a request, median |\n| --- | --- |")
    for kind, values in costs.items():
        print(f"| {kind} | {statistics.median(values):.3f} |")
    print(f"| difference (quartiles) | {middle:.3f} ({low:.3f}–{high:.3f}) |")
    return int(middle > options.budget_ms)


def main(arguments: list[str]) -> int:
    """Serve or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--budget-ms", type=float, default=0.5)
    parser.add_argument("--serve", choices=["bare", "full"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.port, options.directory)
        return 0
    os.environ.pop("PHI3_SECRET", None)
    return measure(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
