"""Start the service in the foreground: check, spawn BentoML, follow its start, forward signals."""

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import IO

import psutil

from phi3_bento.errors import StartFailure
from phi3_bento.knobs.defaults import DEMO_MODEL
from phi3_bento.settings import Settings
from phi3_bento.startup import Say, needs_key, wait_until_ready

_PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""

_SHUTDOWN_MARGIN_S = 10
_LEAST_ROOM_BYTES = 2**20
_LAST_START = "last-start.json"


@dataclass(frozen=True, slots=True)
class Launch:
    """Where a service runs, and where it writes."""

    settings: Settings
    service_file: Path

    @property
    def run_directory(self) -> Path:
        """For this port alone: BentoML wipes its metrics directory at every start."""
        return self.settings.data_dir / "run" / str(self.settings.port)

    @property
    def log_file(self) -> Path:
        """Everything that BentoML, vLLM and the service print."""
        return self.run_directory / "service.log"

    @property
    def address(self) -> str:
        """The URL at which this machine reaches the service."""
        host = self.settings.host
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared
        return f"http://{f'[{local}]' if ':' in local else local}:{self.settings.port}"

    def command(self) -> list[str]:
        """`bentoml serve`, by this very interpreter."""
        limit_s = int(self.settings.drain_limit_s) + _SHUTDOWN_MARGIN_S
        return [
            *(sys.executable, "-m", "bentoml", "serve", "service:Phi3Service"),
            *("--working-dir", str(self.service_file.parent)),
            *("--host", self.settings.host, "--port", str(self.settings.port)),
            *("--timeout-graceful-shutdown", str(limit_s)),
        ]

    def environment(self) -> dict[str, str]:
        """This process's environment; what is unset goes under the data directory."""
        # A service's file is named from where the command was given.
        files = {
            "PHI3_WARM_CACHE": self.settings.warm_cache,
            "PHI3_PUBLIC_PROMPTS": self.settings.public_prompts,
        }
        return {
            "BENTOML_HOME": str(self.run_directory / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            # BentoML runs the service in the service file's directory.
            "PHI3_DATA_DIR": str(self.settings.data_dir),
            **{name: str(path.expanduser().absolute()) for name, path in files.items() if path},
            "PHI3_MODEL": self._model(),
            "PHI3_HOST": self.settings.host,
            "PHI3_PORT": str(self.settings.port),
        }

    def _model(self) -> str:
        directory = Path(self.settings.model).expanduser()
        is_local = self.settings.model != DEMO_MODEL and directory.is_dir()
        return str(directory.absolute()) if is_local else self.settings.model


def find_service_file() -> Path:
    """service.py, beside the package in the repository and in a Bento alike."""
    path = Path(__file__).resolve().parent.parent / "service.py"
    if not path.exists():
        raise StartFailure(
            f"There is no service.py at {path.parent}. 'phi3-bento serve' runs in the repository "
            "or in a Bento; clone the repository, or build a Bento with 'make bento'."
        )
    return path


def check_port(host: str, port: int) -> None:
    """Raise `StartFailure` where the service could not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartFailure(
                f"Port {port} on {host} cannot be used ({error.strerror}). Stop what listens "
                f"there, or choose another port: make serve PORT={port % 65535 + 1}"
            ) from error


def check_directory(directory: Path) -> None:
    """Raise `StartFailure` where the service could not write what it must."""
    probe = directory / f"probe-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_LEAST_ROOM_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise StartFailure(
            f"The data directory {directory} cannot be written ({error.strerror}). Make room, or "
            "set PHI3_DATA_DIR to a place that this user may write to."
        ) from error


def serve(launch: Launch, *, say: Say, verbose: bool) -> int:
    """Serve until a signal comes; the exit code of `bentoml serve`, 0 after a clean stop.

    Raises `StartFailure` when the service does not become ready; nothing is left running then.
    """
    launch.run_directory.mkdir(parents=True, exist_ok=True)
    started_at = monotonic()
    with _log(launch, verbose) as log, _child(launch, log) as child, _forwarded(child) as stopping:
        say(f"Starting the engine{_last_time(launch)}. Log: {_log_name(launch, verbose)}")
        name = wait_until_ready(launch.address, child, stopping, log_file=launch.log_file, say=say)
        if name is not None:
            seconds = monotonic() - started_at
            _remember(launch, seconds)
            say(f"{name} is ready after {seconds:.0f} s. Stop it with Ctrl-C.")
            say(f"A page to try it: {launch.address}/ui")
            with_key = needs_key(launch.address)
            say(f"{launch.address} — try: {example_command(launch, name, with_key=with_key)}")
        code = child.wait()
    return 0 if stopping else code


def example_command(launch: Launch, model: str, *, with_key: bool) -> str:
    """A `curl` that the running service answers."""
    message = {"role": "user", "content": "Hello! What are you?"}
    body = {"model": model, "messages": [message], "temperature": 0}
    key = ' -H "Authorization: Bearer $PHI3_API_KEY"' if with_key else ""
    return (
        f"curl {launch.address}/v1/chat/completions{key} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    )


@contextmanager
def _log(launch: Launch, verbose: bool) -> Iterator[IO[bytes] | None]:
    if verbose:
        yield None
        return
    with launch.log_file.open("wb") as log:
        yield log


@contextmanager
def _child(launch: Launch, log: IO[bytes] | None) -> Iterator["subprocess.Popen[bytes]"]:
    """BentoML in a process group of its own: Ctrl-C reaches it once, as SIGTERM, through us."""
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
        launch.command(),
        env=launch.environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509  # the launcher has one thread
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the launcher dies without a word, as of SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _forwarded(child: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on as SIGTERM; the second signal kills. Yields the signals so far."""
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            child.terminate()
        else:
            _kill(child.pid)

    previous = {
        number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _kill(pid: int) -> None:
    """Kill a process and all that descend from it: BentoML's workers lead groups of their own."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _log_name(launch: Launch, verbose: bool) -> str:
    return "below" if verbose else str(launch.log_file)


def _last_time(launch: Launch) -> str:
    try:
        seconds = json.loads((launch.run_directory / _LAST_START).read_text())["seconds"]
        return f" (last time this took {seconds:.0f} s)"
    except (OSError, ValueError, KeyError, TypeError):
        return " (the first start takes longest)"


def _remember(launch: Launch, seconds: float) -> None:
    (launch.run_directory / _LAST_START).write_text(json.dumps({"seconds": seconds}))
