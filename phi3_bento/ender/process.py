"""The process that ends the streams of killed service processes.

    python -I -S process.py FD      of one, over a socket that it inherited
    python -I -S process.py PATH    of many, which connect to PATH

It holds a copy of the socket of every stream that runs. When a service process is gone, the kernel
closes its own copies, and not these: what the process had left to be said is written to them, and
then they are closed. Standard library alone: it starts in milliseconds and takes 10 MB.
"""

import resource
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from os import close, pidfd_open

LAST_WORDS, HOLD, DROP = b"w", b"h", b"d"
"""What a packet begins with: what to write at the end; a stream's number, with its socket; the
number of a stream that has ended well."""

MAX_PACKET_BYTES = 4096
_DEATH_S = 1.0
"""For which a process that closed its connection may still be alive."""


class ServiceProcess:
    """One that may be killed, and the streams that it runs."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._process = pidfd_open(struct.unpack("3i", credentials)[0])
        self._last_words = b""
        self._streams: dict[bytes, socket.socket] = {}

    def listen(self) -> bool:
        """Take one packet; whether there was one."""
        try:
            packet, fds, _, _ = socket.recv_fds(self.connection, MAX_PACKET_BYTES, 1)
        except OSError:
            return False
        kind, rest = packet[:1], packet[1:]
        if kind == LAST_WORDS:
            self._last_words = rest
        elif kind == HOLD and fds:
            self._streams[rest] = socket.socket(fileno=fds[0])
        elif kind == DROP and rest in self._streams:
            self._streams.pop(rest).close()
        return bool(packet)

    def end(self) -> None:
        """Say its last words, if it is dead, and let its streams go."""
        is_dead = _is_readable(self._process, _DEATH_S)
        for stream in self._streams.values():
            with suppress(OSError):
                if is_dead:
                    stream.send(self._last_words, socket.MSG_DONTWAIT)
                    stream.shutdown(socket.SHUT_WR)
            stream.close()
        close(self._process)
        self.connection.close()


def _is_readable(fd: int, limit_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(limit_s))


def serve_one(connection: socket.socket) -> None:
    """Return when the process at the other end has ended."""
    process = ServiceProcess(connection)
    while process.listen():
        pass
    process.end()


def serve_many(path: str) -> None:
    """Take connections at `path`, for ever."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door,
        selectors.DefaultSelector() as selector,
    ):
        door.bind(path)
        door.listen()
        selector.register(door, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    with suppress(OSError):  # it may be gone already
                        process = ServiceProcess(door.accept()[0])
                        selector.register(process.connection, selectors.EVENT_READ, process)
                elif not key.data.listen():
                    selector.unregister(key.fileobj)
                    key.data.end()


def main() -> None:
    """Ctrl-C is for the service, which may still finish its streams."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    (where,) = sys.argv[1:]
    if where.isdigit():
        serve_one(socket.socket(fileno=int(where)))
    else:
        serve_many(where)


if __name__ == "__main__":
    main()
