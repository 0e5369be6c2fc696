"""Slow, endless, idle and malformed connections are ended in time, and harm nobody else.

Raw sockets against the API over the echo engine, with limits that a test can wait for.
"""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from phi3_bento.admission.bodies import Bodies
from phi3_bento.admission.connections import ConnectionLimits
from phi3_bento.errors import Overloaded
from tests.support import EchoServer, Service, echo_server, wait_for

LIMITS = ConnectionLimits(
    connections=20, head_bytes=8192, headers=50, head_s=1.0, body_s=1.0, write_s=1.0
)
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}
PATIENCE_S = 20.0
"""Longer than any limit here: the server must have ended the connection by then."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoServer]:
    with echo_server(tmp_path_factory.mktemp("connections"), limits=LIMITS) as server:
        server.engine.card = replace(server.engine.card, max_context_tokens=10**6)
        yield server


@contextmanager
def connection(service: EchoServer | Service) -> Iterator[socket.socket]:
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as opened:
        yield opened


def ask(opened: socket.socket) -> int:
    """The status of a small request, whose answer is read to its end."""
    opened.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with HTTPResponse(opened) as response:
        response.begin()
        response.read()
    return response.status


def head(body_bytes: int, *lines: str) -> bytes:
    fixed = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {body_bytes}")
    return "\r\n".join(("POST /v1/chat/completions HTTP/1.1", *fixed, *lines, "", "")).encode()


def read_to_end(opened: socket.socket) -> bytes:
    """All that the server says until it ends the connection."""
    received = b""
    try:
        while data := opened.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def failure(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer in OpenAI's form."""
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])["error"]["code"]


def is_well(server: EchoServer) -> bool:
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=CHAT, timeout=10)
    return answer.status_code == 200


def drip(opened: socket.socket, data: bytes, pause_s: float = 0.05) -> None:
    """Send byte by byte until the server has enough."""
    for byte in data:
        try:
            opened.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(pause_s)


def test_a_connection_that_says_nothing_is_closed(server: EchoServer) -> None:
    with connection(server) as opened:
        assert read_to_end(opened) == b""
    assert is_well(server)


def test_a_head_that_comes_byte_by_byte_gets_408(server: EchoServer) -> None:
    with connection(server) as opened:
        threading.Thread(target=drip, args=(opened, head(0) * 5), daemon=True).start()
        assert failure(read_to_end(opened)) == (408, "request_timeout")


def test_a_body_that_comes_byte_by_byte_gets_408(server: EchoServer) -> None:
    before = server.engine.started
    with connection(server) as opened:
        opened.sendall(head(1000))
        threading.Thread(target=drip, args=(opened, b" " * 1000), daemon=True).start()
        assert failure(read_to_end(opened)) == (408, "request_timeout")
    assert server.engine.started == before
    assert is_well(server)


@pytest.mark.parametrize(
    "flood",
    [
        b"X-A: " + b"a" * 100_000 + b"\r\n",
        b"X-A: a\r\n" * 2000,
        b"".join(b"X-%d: a\r\n" % number for number in range(60)),
        b"X-A: " + b"a" * 200_000,  # without an end
    ],
    ids=["a huge one", "the same ones", "too many", "an endless one"],
)
def test_a_flood_of_headers_gets_431(server: EchoServer, flood: bytes) -> None:
    with connection(server) as opened:
        opened.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + flood)
        assert failure(read_to_end(opened)) == (431, "headers_too_large")


def test_an_endless_url_gets_431(server: EchoServer) -> None:
    with connection(server) as opened:
        opened.sendall(b"GET /" + b"a" * 100_000)
        assert failure(read_to_end(opened)) == (431, "headers_too_large")


def test_endless_trailers_of_a_chunked_body_get_431(server: EchoServer) -> None:
    lines = ("Host: localhost", "Content-Type: application/json", "Transfer-Encoding: chunked")
    start = "\r\n".join(("POST /v1/chat/completions HTTP/1.1", *lines, "", "")).encode()
    with connection(server) as opened:
        opened.sendall(start + b"2\r\n{}\r\n0\r\n")
        opened.sendall(b"X-T: " + b"a" * 100_000)
        assert read_to_end(opened).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "request_text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo\x00st: a\r\n\r\n",
        b"CONNECT nowhere:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_4xx(server: EchoServer, request_text: bytes) -> None:
    with connection(server) as opened:
        opened.sendall(request_text)
        opened.shutdown(socket.SHUT_WR)
        answer = read_to_end(opened)
        assert answer.startswith(b"HTTP/1.1 4"), answer
        assert b'{"error":' in answer
    assert is_well(server)


def test_a_client_that_reads_nothing_is_given_up_and_its_work_stops(server: EchoServer) -> None:
    aborted, server.engine.word_s = server.engine.aborted, 1e-6
    message = {"role": "user", "content": "word " * 100_000}
    body = json.dumps({"messages": [message], "stream": True})
    try:
        with connection(server) as opened:
            opened.sendall(head(len(body)) + body.encode())
            wait_for(lambda: server.engine.aborted > aborted, "the engine's work is stopped", 60)
    finally:
        server.engine.word_s = 0.0
    assert is_well(server)


def test_more_connections_than_may_be_are_told_to_come_back(server: EchoServer) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connection(server)) for _ in range(LIMITS.connections)]
        one_more = stack.enter_context(connection(server))
        answer = read_to_end(one_more)
        assert failure(answer) == (503, "overloaded")
        assert b"retry-after: 1" in answer
        assert idle[0].recv(1) == b"", "the idle ones go, and make room"
        assert is_well(server)


def test_the_longest_idle_connection_makes_room(tmp_path: Path) -> None:
    with ExitStack() as stack:
        limits = ConnectionLimits(connections=2)
        server = stack.enter_context(echo_server(tmp_path, limits=limits))
        first, second = (stack.enter_context(connection(server)) for _ in range(2))
        assert [ask(second), ask(first), ask(second)] == [200, 200, 200]
        assert ask(stack.enter_context(connection(server))) == 200
        assert first.recv(1) == b""
        assert ask(second) == 200


def test_a_connection_that_asks_nothing_more_is_closed(tmp_path: Path) -> None:
    limits = ConnectionLimits(idle_s=1)
    with echo_server(tmp_path, limits=limits) as server, connection(server) as opened:
        assert ask(opened) == 200
        assert read_to_end(opened) == b""


def test_a_client_with_pipelined_requests_that_leaves_stops_the_work(server: EchoServer) -> None:
    aborted = server.engine.aborted
    server.engine.word_s = 0.05
    body = json.dumps({"messages": [{"role": "user", "content": "word " * 400}], "stream": True})
    try:
        with connection(server) as opened:
            opened.sendall((head(len(body)) + body.encode()) * 2)
            assert opened.recv(1000).startswith(b"HTTP/1.1 200")
        wait_for(lambda: server.engine.aborted > aborted, "the first one's work is stopped", 15)
    finally:
        server.engine.word_s = 0.0
    assert is_well(server)


def test_requests_one_after_the_other_share_a_connection(server: EchoServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
            time.sleep(0.4)


def test_a_long_answer_to_a_slow_reader_comes_whole(server: EchoServer) -> None:
    """It takes what waits for it, if slowly: within the limit between two pieces."""
    message = {"role": "user", "content": "word " * 20_000}
    body = json.dumps({"messages": [message], "stream": True})
    with connection(server) as opened:
        opened.sendall(head(len(body)) + body.encode())
        received = b""
        while not received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            data = opened.recv(65536)
            assert data, received[-200:]
            received = (received + data)[-100:]
            time.sleep(0.02)


def test_the_whole_service_has_these_bounds(echo_service: Service) -> None:
    """BentoML starts its server itself: that it takes our protocol is worth a test."""
    with connection(echo_service) as opened:
        opened.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n" + b"X-A: a\r\n" * 5000)
        assert failure(read_to_end(opened)) == (431, "headers_too_large")


def test_a_connection_is_there_for_as_long_as_clients_keep_it(echo_service: Service) -> None:
    """uvicorn would close it after 5 s, just when httpx, and with it OpenAI's client, gives up."""
    with connection(echo_service) as opened:
        assert ask(opened) == 200
        time.sleep(6)
        assert ask(opened) == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/generate", "/classify", "/tokenize"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_decompression_bomb_is_not_unpacked(
    echo_service: Service, path: str, encoding: str
) -> None:
    bomb = gzip.compress(b" " * 10**8)
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    answer = httpx.post(echo_service.url + path, content=bomb, headers=headers, timeout=10)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


async def test_bodies_are_bounded_all_together() -> None:
    bodies = Bodies(limit=100)
    with bodies.share() as first, bodies.share() as second:
        first.take(60)
        with pytest.raises(Overloaded):
            second.take(60)
    assert bodies.held == 0
    with bodies.share() as third:
        third.take(100)
