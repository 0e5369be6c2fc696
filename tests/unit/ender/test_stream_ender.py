"""Streams of a process that is killed get an end from another process; others end as they do."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from phi3_bento.ender.streams import command
from tests.support import REPOSITORY, wait_for
from tests.unit.ender.streaming import LAST_WORDS


@contextmanager
def service(*arguments: str) -> Iterator[int]:
    """The port of a service that streams."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.ender.streaming", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        yield int(process.stdout.readline())
    process.kill()
    process.wait()


def begin(port: int) -> socket.socket:
    """A stream that runs."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    seen = b""
    while seen != b"begun, held":
        seen += client.recv(100)
    return client


def tell(client: socket.socket, order: bytes) -> None:
    client.sendall(order + b"\n")


def rest(client: socket.socket) -> bytes:
    """All that still comes, to the end of the stream."""
    seen = b""
    with client:
        while part := client.recv(100):
            seen += part
    return seen


@contextmanager
def ender_for_many(directory: Path) -> Iterator[str]:
    """Where it listens."""
    path = directory / "ender.socket"
    process = subprocess.Popen(command(str(path)))
    wait_for(path.exists, "the ender listens")
    yield str(path)
    assert process.poll() is None, "it outlives those whom it serves"
    process.kill()
    process.wait()


@pytest.fixture(params=["its own", "one for many"])
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Of a service whose ender is its own, or one that others use too."""
    if request.param == "its own":
        yield ()
        return
    with ender_for_many(tmp_path) as path:
        yield (path,)


def test_all_streams_of_a_killed_process_get_their_end(arguments: tuple[str, ...]) -> None:
    with service(*arguments) as port:
        streams = [begin(port) for _ in range(5)]
        tell(streams[0], b"kill")
        assert [rest(stream) for stream in streams] == [LAST_WORDS] * 5


def test_only_those_that_still_ran_get_it(arguments: tuple[str, ...]) -> None:
    with service(*arguments) as port:
        done, running = begin(port), begin(port)
        tell(done, b"go on")
        assert rest(done) == b", ended"
        tell(running, b"kill")
        assert rest(running) == LAST_WORDS


def test_another_process_s_streams_go_on(tmp_path: Path) -> None:
    with ender_for_many(tmp_path) as path, service(path) as killed, service(path) as other:
        lost, kept = begin(killed), begin(other)
        tell(lost, b"kill")
        assert rest(lost) == LAST_WORDS
        tell(kept, b"go on")
        assert rest(kept) == b", ended"


def test_who_lives_on_without_its_ender_ends_its_streams_itself() -> None:
    with service() as port:
        stream = begin(port)
        tell(stream, b"leave the ender")
        assert rest(stream) == b", ended"


def own_ender(port: int) -> int:
    """The process id of the service's own."""
    stream = begin(port)
    tell(stream, b"how are you?")
    return int(rest(stream).partition(b",")[0])


def test_its_own_ends_with_it() -> None:
    with service() as port:
        ender = own_ender(port)
        assert psutil.pid_exists(ender)
    wait_for(lambda: not psutil.pid_exists(ender), "the ender has ended")


def test_without_one_streams_are_what_they_would_have_been() -> None:
    with service() as port:
        os.kill(own_ender(port), signal.SIGKILL)
        for _ in range(3):
            stream = begin(port)
            tell(stream, b"go on")
            assert rest(stream) == b", ended"
        stream = begin(port)
        tell(stream, b"kill")
        assert rest(stream) == b""


def test_one_that_stands_still_holds_up_nobody_and_gets_no_more() -> None:
    with service() as port:
        ender = own_ender(port)
        os.kill(ender, signal.SIGSTOP)
        stream = begin(port)
        tell(stream, b"many more")
        ended = stream.recv(100)
        assert ended == b", ended"
        os.kill(ender, signal.SIGCONT)
        assert rest(stream) == b""
    wait_for(lambda: not psutil.pid_exists(ender), "the ender has ended")


def test_where_nobody_listens_it_starts_its_own(tmp_path: Path) -> None:
    with service(str(tmp_path / "nobody")) as port:
        stream = begin(port)
        tell(stream, b"kill")
        assert rest(stream) == LAST_WORDS
