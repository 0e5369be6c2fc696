"""Start a fleet as a user does, and send it traffic without a pause."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from phi3_bento.fleet.control import ask
from phi3_bento.fleet.layout import REDIS_OFFSET, ROUTER_METRICS_OFFSET
from tests.support import REPOSITORY, free_port, wait_for

START_LIMIT_S = 240.0
_END_LIMIT_S = 90.0


def free_ports(replicas: int = 2) -> int:
    """A port after which those of a fleet are free too."""
    offsets = (*range(replicas + 1), ROUTER_METRICS_OFFSET, REDIS_OFFSET, REDIS_OFFSET + 1)
    for _ in range(100):
        port = free_port()
        if port < 60_000 and all(_is_free(port + offset) for offset in offsets):
            return port
    raise AssertionError("no free ports for a fleet")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def fleet_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "phi3_bento", "fleet", *arguments]


@dataclass
class Fleet:
    """A running `phi3-bento fleet up`."""

    process: subprocess.Popen[str]
    port: int
    data_dir: Path
    output: Path
    variables: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        return self.data_dir / "fleet"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.directory / 'key').read_text().strip()}"}

    def replica_url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port + number}"

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = ask(self.directory, {"do": "status"})["status"]
        return status

    def replica(self, number: int) -> dict[str, Any]:
        replica: dict[str, Any] = self.status()["replicas"][number - 1]
        return replica

    def listed(self) -> list[str]:
        urls: list[str] = httpx.get(f"{self.url}/list_workers").json()["urls"]
        return urls

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`phi3-bento fleet …` in another process, as from another terminal."""
        return subprocess.run(
            fleet_command(*arguments),
            env={**os.environ, **self.variables},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=START_LIMIT_S,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """As `run`; its output, where it went well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def processes_of(self, number: int) -> list[psutil.Process]:
        """The processes of one replica, from its launcher down."""
        port = str(self.port + number)
        (root,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if child.environ().get("PHI3_PORT") == port and "serve" in child.cmdline()
        )
        return [root, *root.children(recursive=True)]

    def post(self, body: Mapping[str, Any], number: int | None = None) -> httpx.Response:
        """A chat, by the router or to one replica."""
        url = self.url if number is None else self.replica_url(number)
        path = "/v1/chat/completions"
        return httpx.post(url + path, json=dict(body), headers=self.headers, timeout=60)


@contextmanager
def running_fleet(data_dir: Path, env: Mapping[str, str], *arguments: str) -> Iterator[Fleet]:
    """`fleet up` with these arguments, when it takes requests; all of it ends afterwards."""
    port = free_ports()
    variables = {"PHI3_PORT": str(port), "PHI3_DATA_DIR": str(data_dir), **env}
    output = data_dir / "fleet.log"
    with output.open("w") as stream:
        process = subprocess.Popen(
            fleet_command("up", *arguments),
            env={**os.environ, **variables},
            cwd=REPOSITORY,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
        )
    fleet = Fleet(process, port, data_dir, output, variables)
    descendants: list[psutil.Process] = []
    try:
        wait_for(
            lambda: "takes requests" in output.read_text() or process.poll() is not None,
            "the fleet takes requests",
            START_LIMIT_S,
        )
        assert process.poll() is None, output.read_text()
        yield fleet
        descendants = fleet.tree() if process.poll() is None else []
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        for child in descendants:
            if child.is_running():
                child.kill()


@dataclass
class Outcome:
    """What became of one request."""

    is_stream: bool
    has_begun: bool = False
    """Its first byte has come."""
    is_whole: bool = False
    is_over: bool = False
    failure: str = ""


@dataclass
class Traffic:
    """Clients that ask again and again."""

    fleet: Fleet
    prompt: str
    """In it `{number}` is another for each request."""
    rest: Mapping[str, Any]
    streams: bool | None = None
    """Whether they ask for streams; None: half of them do."""
    outcomes: list[Outcome] = field(default_factory=list)
    _stopping: bool = False

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.is_over and not outcome.is_whole]

    @property
    def whole(self) -> int:
        return sum(outcome.is_whole for outcome in self.outcomes)

    async def ask(self, client: httpx.AsyncClient, number: int, *, stream: bool) -> Outcome:
        outcome = Outcome(stream)
        self.outcomes.append(outcome)
        messages = [{"role": "user", "content": self.prompt.format(number=number)}]
        body = {**self.rest, "messages": messages, "stream": stream}
        text = ""
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for piece in response.aiter_text():
                    outcome.has_begun = True
                    text += piece
            is_complete = "data: [DONE]" in text if stream else "choices" in json.loads(text)
            is_good = response.status_code == 200 and '{"error"' not in text
            outcome.is_whole = is_complete and is_good
            outcome.failure = "" if outcome.is_whole else f"{response.status_code} {text[-500:]}"
        except httpx.HTTPError as error:
            outcome.failure = repr(error)
        outcome.is_over = True
        return outcome

    async def client(self, number: int) -> None:
        options = {"headers": self.fleet.headers, "timeout": 120.0, "trust_env": False}
        async with httpx.AsyncClient(base_url=self.fleet.url, **options) as client:
            turn, stream = 0, self.streams if self.streams is not None else number % 2 == 0
            while not self._stopping:
                await self.ask(client, (number + 1) * 100_000 + turn, stream=stream)
                turn += 1

    def stop(self) -> None:
        """Let each client end after its present request."""
        self._stopping = True


@asynccontextmanager
async def traffic(
    fleet: Fleet, clients: int, prompt: str, *, streams: bool | None = None, **rest: Any
) -> AsyncGenerator[Traffic, None]:
    """Traffic while the block runs; at its end every request has its outcome."""
    run = Traffic(fleet, prompt, rest, streams)
    tasks = [asyncio.create_task(run.client(number)) for number in range(clients)]
    try:
        yield run
    finally:
        run.stop()
        await asyncio.gather(*tasks)
