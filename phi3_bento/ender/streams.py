"""The service's side: which of its streams run, told to the process that would end them."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from phi3_bento.ender import process

HELD_KEY = "phi3.held"
"""Where in the scope a stream finds the context in which it is held."""

_AGAIN_S = 0.05
_MOST_LATE = 1000
"""Packets that may wait; with more the process at the other end does not move."""
_LEAST_LIFE_S = 10.0
"""A process that ended sooner than this after its start is not started again at once."""

logger = logging.getLogger("bentoml.phi3")


class StreamEnder:
    """Has `last_words` written to every stream that is held, if this process is killed.

    The process that writes them is found at `path` (a fleet's, which outlives replicas); without
    it, or where nobody answers there, one is started at the first stream. Where that fails, streams
    of a killed process break off. Nothing here waits or raises. Belongs to one event loop.
    """

    def __init__(self, last_words: bytes, path: Path | None = None) -> None:
        self._last_words = last_words
        self._path = path
        self._socket: socket.socket | None = None
        self._own: subprocess.Popen[bytes] | None = None
        self._connected_at = float("-inf")
        self._numbers = count()
        self._late: deque[bytes] = deque()
        """Packets for which there was no room."""
        self._again: asyncio.TimerHandle | None = None

    @contextmanager
    def held(self, transport: asyncio.BaseTransport) -> Iterator[None]:
        """The stream that is written to `transport`, from after its head to after its end."""
        number = self._hold(transport)
        try:
            yield
        finally:
            if number is not None and self._socket is not None:
                self._late.append(process.DROP + number)
                self._send_late()

    def _hold(self, transport: asyncio.BaseTransport) -> bytes | None:
        """Its number; None where it is not held."""
        stream = transport.get_extra_info("socket")
        if stream is None or transport.get_extra_info("sslcontext") is not None:
            return None  # of an encrypted one nobody else can write the end
        if self._socket is None:
            self._connect()
        self._send_late()
        number = b"%d" % next(self._numbers)
        is_held = not self._late and self._send(process.HOLD + number, stream.fileno())
        return number if is_held else None

    def _send_late(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        while self._late and self._send(self._late[0]):
            self._late.popleft()
        if len(self._late) > _MOST_LATE:
            self._forget()
        elif self._late:
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._send_late)

    def _send(self, packet: bytes, *fds: int) -> bool:
        if self._socket is None:
            return False
        try:
            socket.send_fds(self._socket, [packet], fds)
        except BlockingIOError:
            return False
        except OSError as error:
            logger.warning("The process that would end streams has ended itself: %s", error)
            self._forget()
            return False
        return True

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._own is not None:
            self._own.poll()
        self._late.clear()

    def _connect(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._connected_at + _LEAST_LIFE_S:
            return
        self._connected_at = now
        try:
            self._socket = self._reach() or self._start()
        except OSError as error:
            logger.warning("Streams break off if this process is killed: %s", error)
            return
        self._send(process.LAST_WORDS + self._last_words)

    def _reach(self) -> socket.socket | None:
        if self._path is None:
            return None
        near = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        try:
            near.connect(str(self._path))
        except OSError:
            near.close()
            return None
        return near

    def _start(self) -> socket.socket:
        """Start one for this process alone; it ends soon after it."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        with far:
            self._own = subprocess.Popen(  # noqa: S603  # our own file
                command(str(far.fileno())),
                pass_fds=(far.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return near


def command(where: str) -> list[str]:
    """The command line of the process; `where` as in its file's first lines."""
    return [sys.executable, "-I", "-S", process.__file__, where]
