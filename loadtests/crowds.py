"""Many clients at once; by aiohttp, which leaves more of the cores to the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

import aiohttp

from loadtests.arrivals import constant
from loadtests.scenario import CHAT_PATH, chat

HANG_S = 1800.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client got, and when; seconds of the monotonic clock."""

    request_id: str
    asked_at: float
    ended_at: float
    status: int
    retry_after: str | None

    @property
    def seconds(self) -> float:
        return self.ended_at - self.asked_at


class Crowd:
    """Clients who all ask for the same amount of work, none for what another has asked."""

    def __init__(self, session: aiohttp.ClientSession, words: int, tokens: int) -> None:
        self._session = session
        self._text = "word " * words
        self._tokens = tokens

    async def ask(self) -> Answer:
        """One answer, however it ends."""
        request_id, asked_at = f"crowd-{uuid4().hex[:16]}", monotonic()
        text = f"{request_id} {self._text}"
        body = chat(text, max_tokens=self._tokens, ignore_eos=True, temperature=1)
        async with self._session.post(
            CHAT_PATH, json=body, headers={"x-request-id": request_id}
        ) as response:
            await response.read()
            retry_after = response.headers.get("retry-after")
            return Answer(request_id, asked_at, monotonic(), response.status, retry_after)

    async def fill(self, clients: int, seconds: float) -> list[Answer]:
        """Some clients for a while, each asking again when it has its answer."""
        end_at = monotonic() + seconds

        async def one() -> list[Answer]:
            answers = []
            while monotonic() < end_at:
                answers.append(await self.ask())
            return answers

        lists = await asyncio.gather(*(one() for _ in range(clients)))
        return [answer for answers in lists for answer in answers]

    async def flood(self, rate: float, seconds: float) -> list[Answer]:
        """`rate` requests a second, whether earlier ones were answered or not."""
        began_at, tasks = monotonic(), []
        for at_s in constant(rate, seconds):
            await asyncio.sleep(began_at + at_s - monotonic())
            tasks.append(asyncio.create_task(self.ask()))
        return await asyncio.gather(*tasks)


@asynccontextmanager
async def crowd(url: str, *, words: int, tokens: int) -> AsyncIterator[Crowd]:
    """Clients of the service at `url`, for prompts of so many words and answers of tokens."""
    limits = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=HANG_S)
    async with aiohttp.ClientSession(url, connector=limits, timeout=timeout) as session:
        yield Crowd(session, words, tokens)
