"""Start what the tests talk to: the service as a user does, and the API over the echo engine."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from phi3_bento.admission.connections import ConnectionLimits, guarded
from phi3_bento.admission.door import Door
from phi3_bento.app import Application
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.settings import Settings

REPOSITORY = Path(__file__).parent.parent
START_LIMIT_S = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    """Poll until `condition` holds; an AssertionError that names `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s:g} s: {what}")


async def wait_for_async(
    condition: Callable[[], Awaitable[bool]], what: str, limit_s: float = 30.0
) -> None:
    """As `wait_for`, for a condition that is awaited."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {limit_s:g} s: {what}")


@dataclass
class Service:
    """A running service process and what it left behind."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path
    output: Path
    descendants: list[psutil.Process] = field(default_factory=list)

    def engine_core(self) -> psutil.Process:
        """vLLM's EngineCore process."""
        names = {child.pid: " ".join(child.cmdline()) for child in self.tree()}
        (pid,) = (pid for pid, name in names.items() if "EngineCore" in name)
        return psutil.Process(pid)

    def tree(self) -> list[psutil.Process]:
        """All processes that the service started and that still run."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def terminate(self) -> None:
        self.descendants = self.tree()
        self.process.send_signal(signal.SIGTERM)

    def left_behind(self) -> list[str]:
        """Descendants that outlived the service."""
        return [str(child) for child in self.descendants if child.is_running()]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)

    def metric(self, *names: str) -> float:
        """The sum of these metrics' series at /metrics."""
        starts = tuple(f"{name}{{" for name in names)
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(starts))

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(
    command: list[str],
    data_dir: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
    *,
    is_up: Callable[[Service], bool] = Service.is_ready,
) -> Iterator[Service]:
    """Run `command`, until it is ready or what else `is_up` says; end its whole tree afterwards."""
    port = free_port()
    variables = {
        **os.environ,
        "PHI3_PORT": str(port),
        "PHI3_DATA_DIR": str(data_dir),
        "BENTOML_HOME": str(data_dir / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        **(env or {}),
    }
    output = data_dir / "output.log"
    with output.open("w") as stream:
        process = subprocess.Popen(
            command, env=variables, cwd=cwd, stdout=stream, stderr=subprocess.STDOUT, text=True
        )
    service = Service(process, f"http://127.0.0.1:{port}", data_dir, output)
    try:
        wait_for(lambda: is_up(service) or process.poll() is not None, "ready", START_LIMIT_S)
        assert process.poll() is None, f"ended at start:\n{output.read_text()[-3000:]}"
        yield service
    finally:
        _end(service)


def _end(service: Service) -> None:
    if service.process.poll() is None:
        service.terminate()
        try:
            service.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            service.process.kill()
    for child in service.descendants:
        if child.is_running():
            child.kill()


def serve_command() -> list[str]:
    """`phi3-bento serve`, in this interpreter's environment."""
    return [sys.executable, "-m", "phi3_bento", "serve", "--verbose"]


def bentoml_command(bento: str = "service:Phi3Service") -> list[str]:
    return [sys.executable, "-m", "bentoml", "serve", bento]


@dataclass
class EchoServer:
    """The API over the echo engine, in this process: scriptable, and real HTTP."""

    url: str
    engine: EchoEngine
    application: Application
    registry: CollectorRegistry
    stop: Callable[[], None]

    def is_ready(self) -> bool:
        return self.application.health().is_ready

    def metric(self, name: str, **labels: str) -> float:
        self.application.watch.look()
        self.application.reporter.flush()
        return self.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def echo_server(
    tmp_path: Path,
    *,
    started: threading.Event | None = None,
    prefix: str = "",
    limits: ConnectionLimits | None = None,
    **settings: object,
) -> Iterator[EchoServer]:
    """Serve the API over a fresh echo engine on a free port, in a thread.

    The engine's start waits for `started`, where that is given. With a `prefix` it is reached as
    behind a proxy that takes the prefix away.
    """
    engine, registry = EchoEngine(), CollectorRegistry()

    async def engine_factory() -> EchoEngine:
        if started is not None:
            await asyncio.to_thread(started.wait)
        return engine

    application = Application(
        Settings(data_dir=tmp_path, engine="echo", **settings),
        engine_factory=engine_factory,
        registry=registry,
    )
    app = Door(application.api, native_paths=(), **application.door_options())
    port = free_port()
    config = uvicorn.Config(
        _behind(prefix, app),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        lifespan="on",
        http=guarded(limits or ConnectionLimits()),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(timeout=15)

    try:
        wait_for(lambda: server.started, "the server listens")
        if started is None:
            wait_for(lambda: application.health().is_ready, "the echo engine is ready")
        yield EchoServer(f"http://127.0.0.1:{port}", engine, application, registry, stop)
    finally:
        if started is not None:
            started.set()
        stop()


def _behind(prefix: str, app: ASGIApp) -> ASGIApp:
    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(prefix), scope["path"]
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        await app(scope, receive, send)

    return proxy if prefix else app
