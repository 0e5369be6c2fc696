"""How another terminal speaks with a running fleet: JSON lines over a socket of this user's.

A request is one line, `{"do": "drain", "replica": 2}`. Lines with `say` tell how it goes; the last
one has `ok`, and with it `status`, or `failure` in a sentence.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from phi3_bento.errors import StartFailure
from phi3_bento.startup import Say

Message = Mapping[str, Any]
Handler = Callable[[Message, Say], Awaitable[Message]]
"""Does what a request asks, telling how it goes. Raises `StartFailure` in a sentence."""

_MAX_PATH_BYTES = 107
"""Of a socket's name, on Linux."""


def socket_file(directory: Path) -> Path:
    """Where the fleet of this directory listens."""
    return directory / "control.sock"


@asynccontextmanager
async def listening(directory: Path, handle: Handler) -> AsyncGenerator[None, None]:
    """Answer requests while the block runs."""
    path = socket_file(directory)
    if len(bytes(path)) > _MAX_PATH_BYTES:
        raise StartFailure(
            f"The name {path} is too long for a socket. Choose a shorter PHI3_DATA_DIR."
        )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: Message) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        with suppress(ConnectionError):
            try:
                request = json.loads(await reader.readline())
                send({"ok": True, **await handle(request, lambda text: send({"say": text}))})
            except StartFailure as failure:
                send({"ok": False, "failure": failure.message})
            except (ValueError, TypeError, KeyError) as error:
                send({"ok": False, "failure": f"The fleet does not understand this ({error!r})."})
            await writer.drain()
            writer.close()

    path.unlink(missing_ok=True)  # of a fleet that was killed; the caller holds the lock
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def ask(directory: Path, request: Message, say: Say = lambda _: None) -> Message:
    """What the fleet of this directory answers; `say` hears how it goes.

    Raises `StartFailure` with what the fleet says, or where none runs.
    """
    for message in _messages(directory, request):
        if "say" in message:
            say(str(message["say"]))
        elif message.get("ok"):
            return message
        else:
            raise StartFailure(str(message.get("failure")))
    raise StartFailure("The fleet has ended before it answered.")


def _messages(directory: Path, request: Message) -> Iterator[Message]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(socket_file(directory)))
        except OSError:
            raise StartFailure(
                f"No fleet runs with the data directory {directory.parent}. Start one with "
                "'phi3-bento fleet up', or name its PHI3_DATA_DIR."
            ) from None
        with suppress(ConnectionError), connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            for line in stream:
                yield json.loads(line)
