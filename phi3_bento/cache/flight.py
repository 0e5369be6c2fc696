"""Identical requests at the same time share one generation.

The generation runs in a task of its own. It goes on while anybody listens, whoever began it, and is
stopped when the last one has left.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from phi3_bento.core import TokenCount

Generate = Callable[[], AsyncGenerator[bytes, None]]


class Flight:
    """One generation and those who listen to it. `on_end` hears when nobody may join any more."""

    def __init__(
        self,
        tokens: TokenCount,
        generate: Generate,
        on_end: Callable[["Flight"], None],
        *,
        is_idle: bool = False,
    ) -> None:
        self._tokens = tokens
        self.is_idle = is_idle
        """It waits behind everything else until it has begun."""
        self.identity = b""
        """What it is the answer to, where that is not its key."""
        self.pieces: list[bytes] = []
        self.is_complete = False
        """All pieces are there."""
        self._error: Exception | None = None
        self._listeners = 0
        self._ended = False
        self._news = asyncio.Event()
        self._on_end = on_end
        self._task = asyncio.create_task(self._run(generate))

    def tokens_as_cached(self) -> TokenCount:
        """What has come so far, for one who joined: somebody else's generation read the prompt."""
        count = self._tokens
        return TokenCount(prompt=count.prompt, cached=count.prompt, completion=count.completion)

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Yield all pieces from the first on: what has come so far, then what comes.

        Raises the generation's error. When the last listener leaves, the generation has been
        stopped before this returns.
        """
        self._listeners += 1
        position = 0
        try:
            while True:
                while position < len(self.pieces):
                    position += 1
                    yield self.pieces[position - 1]
                if self._ended:
                    break
                await self._news.wait()
            if self._error is not None:
                raise self._error
        finally:
            self._listeners -= 1
            if not self._listeners and not self._ended:
                self._end()
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, generate: Generate) -> None:
        try:
            async with aclosing(generate()) as pieces:
                async for piece in pieces:
                    self.pieces.append(piece)
                    self._tell()
            self.is_complete = True
        except Exception as error:  # every listener raises it
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(self)
            self._tell()

    def _tell(self) -> None:
        """Wake everybody who waits; who waits from now on waits for the next piece."""
        self._news.set()
        self._news = asyncio.Event()


class Flights:
    """The generations that are under way, by the key of their answer."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def find(self, key: str) -> Flight | None:
        """The generation for `key` that runs now."""
        return self._flights.get(key)

    def begin(
        self,
        key: str,
        tokens: TokenCount,
        generate: Generate,
        on_complete: Callable[[list[bytes]], None],
        *,
        is_idle: bool = False,
    ) -> Flight:
        """Start one; until it ends `find` gives it. `on_complete` gets the pieces of a whole one.

        `tokens` is what the engine counts while it works.
        """

        def end(flight: Flight) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if flight.is_complete:
                on_complete(flight.pieces)

        flight = self._flights[key] = Flight(tokens, generate, end, is_idle=is_idle)
        return flight
