"""A service of one kind of stream, for tests: prints its port, then does what clients write."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from phi3_bento.ender.streams import StreamEnder

LAST_WORDS = b" and then it was killed"


async def main() -> None:
    path = Path(sys.argv[1]) if sys.argv[1:] else None
    ender = StreamEnder(LAST_WORDS, path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"begun")
        with ender.held(writer.transport):
            writer.write(b", held")
            match await reader.readline():
                case b"kill\n":
                    os.kill(os.getpid(), signal.SIGKILL)
                case b"leave the ender\n":
                    ender._forget()
                case b"many more\n":
                    for _ in range(3000):
                        with ender.held(writer.transport):
                            pass
                case b"how are you?\n":
                    own = ender._own
                    writer.write(b" %d" % (own.pid if own else 0))
        writer.write(b", ended")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
