"""What is measured of a server: a stream's first token and pace, and answers at several at once."""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from itertools import count
from random import randrange
from typing import Any

import aiohttp

from loadtests.compare.contestants import Contestant
from loadtests.compare.texts import TEXTS

_LIMIT = aiohttp.ClientTimeout(total=600)
_numbers = count(randrange(10**9))  # no prompt twice, in no run


@dataclass(frozen=True, slots=True)
class Shape:
    """A request: words of its prompt, tokens of its answer."""

    words: int
    tokens: int
    text: str = "sampled"
    """A name in `TEXTS`."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: seconds to its first token, and from one token to the next."""

    first_s: float
    gap_s: float


def _request(contestant: Contestant, shape: Shape, **options: Any) -> tuple[str, dict[str, Any]]:
    """URL and body. Who cannot be asked in tokens is asked in words: it does not guess."""
    prompt = TEXTS[shape.text if contestant.is_vllm else "sampled"](
        next(_numbers), shape.words, shape.tokens
    )
    body = {
        "model": contestant.model,
        "max_tokens": shape.tokens,
        # Sampled: nothing comes from an answer cache.
        "temperature": 0.7,
        "ignore_eos": True,
        **options,
    }
    if isinstance(prompt, list):
        return f"{contestant.url}/v1/completions", body | {"prompt": prompt}
    messages = [{"role": "user", "content": prompt}]
    return f"{contestant.url}/v1/chat/completions", body | {"messages": messages}


async def stream(client: aiohttp.ClientSession, contestant: Contestant, shape: Shape) -> Stream:
    """Ask for one stream; raises unless it comes to its end."""
    started, first, last, pieces = time.perf_counter(), 0.0, 0.0, 0
    url, body = _request(contestant, shape, stream=True)
    async with client.post(url, json=body, headers=contestant.headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[len(b"data: ") :]).get("choices") or [{}]
            if choices[0].get("text") or choices[0].get("delta", {}).get("content"):
                last = time.perf_counter()
                first, pieces = first or last, pieces + 1
    if pieces < 2 and shape.tokens > 1:
        raise SystemExit(f"{contestant.name} sent {pieces} pieces for {shape.tokens} tokens.")
    return Stream(first - started, (last - first) / max(1, shape.tokens - 1))


async def rate(contestant: Contestant, shape: Shape, at_once: int, requests: int) -> float:
    """Answers a second, of `requests` asked by `at_once` connections."""
    remaining = iter(range(requests))
    async with aiohttp.ClientSession(timeout=_LIMIT) as client:

        async def connection() -> None:
            for _ in remaining:
                url, body = _request(contestant, shape)
                headers = contestant.headers
                async with client.post(url, json=body, headers=headers) as response:
                    await response.read()
                    response.raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(connection() for _ in range(at_once)))
        return requests / (time.perf_counter() - started)


async def streams(contestant: Contestant, shape: Shape, requests: int) -> Stream:
    """The medians of `requests` streams, one after the other."""
    async with aiohttp.ClientSession(timeout=_LIMIT) as client:
        each = [await stream(client, contestant, shape) for _ in range(requests)]
    first = statistics.median(one.first_s for one in each)
    return Stream(first, statistics.median(one.gap_s for one in each))
