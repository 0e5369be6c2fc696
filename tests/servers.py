"""Real database servers for the tests: PostgreSQL and Redis from Debian's packages."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

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


@contextmanager
def postgresql_server(directory: Path) -> Iterator[str]:
    """A PostgreSQL of its own, which logs into `directory`; the URL of its database `postgres`."""
    programs, port = _postgresql_programs(), free_port()
    # Not in `directory`: pytest closes its directories to other users.
    with (
        TemporaryDirectory(prefix="phi3-postgresql-") as data,
        (directory / "postgresql.log").open("w") as log,
    ):
        identity: dict[str, Any] = {"cwd": "/", "stdout": log, "stderr": log}
        if os.getuid() == 0:
            shutil.chown(data, SERVER_USER, SERVER_USER)
            identity |= {"user": SERVER_USER, "group": SERVER_USER, "extra_groups": []}
        cluster = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([programs / "initdb", "--no-sync", *cluster], check=True, **identity)
        address = ["-h", "127.0.0.1", "-p", str(port), "-k", ""]
        options = [f"-c{name}={value}" for name, value in _POSTGRESQL_OPTIONS.items()]
        command = [programs / "postgres", "-D", data, *address, *options]
        with _ended(subprocess.Popen(command, **identity)) as process:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_for(lambda: _is_up(process, ready), f"PostgreSQL is ready, see {log.name}")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


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
