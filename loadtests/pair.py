"""Two configurations of the service side by side: interleaved measurements, ratios with spread.

    python -m loadtests.pair --model synthetic:phi-3-mini --b PHI3_KV_DTYPE=fp8

Both run at the same time and are asked in turns, so that what else the machine does meets both.
Prompts are unique: nothing comes from a prefix cache. Needs memory for two services.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.support import Service, running, serve_command

WORDS = [
    "parcel",
    "invoice",
    "order",
    "late",
    "thank",
    "refund",
    "login",
    "price",
    "blue",
    "city",
    "river",
    "stone",
]
TIMEOUT_S = 600


def prompt(words: int) -> str:
    """A text that no request had before."""
    return f"{random.random()} " + " ".join(random.choices(WORDS, k=words))


async def _chat(client: httpx.AsyncClient, words: int, tokens: int) -> None:
    body = {
        "messages": [{"role": "user", "content": prompt(words)}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
    }
    (await client.post("/v1/chat/completions", json=body)).raise_for_status()


async def _measure(url: str, words: int, tokens: int, at_once: int) -> float:
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
        started = time.perf_counter()
        await asyncio.gather(*(_chat(client, words, tokens) for _ in range(at_once)))
        return time.perf_counter() - started


CASES = {
    "first token, short prompt": (5, 1, 1),
    "first token, 300 words": (300, 1, 1),
    "64 tokens, one stream": (5, 64, 1),
    "32 tokens, 8 streams": (5, 32, 8),
    "32 tokens, 8 streams, 150 words": (150, 32, 8),
}
"""Name: words of the prompt, tokens of the answer, requests at once."""


@contextmanager
def services(model: str, *variants: str) -> Iterator[list[Service]]:
    """One service for each variant, as in "PHI3_X=1,PHI3_Y=2"; "" is the default."""
    with ExitStack() as stack:
        started = []
        for variant in variants:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            models = Path(os.environ.get("PHI3_DATA_DIR", "~/.local/share/phi3-bento")).expanduser()
            (directory / "models").symlink_to(models / "models")
            env = dict(part.split("=", 1) for part in variant.split(",") if part)
            command = serve_command()
            service = running(command, directory, {"PHI3_MODEL": model, **env})
            started.append(stack.enter_context(service))
        yield started


def main(arguments: list[str]) -> int:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="phi3-demo")
    parser.add_argument("--a", default="", help="settings of the first, NAME=VALUE,NAME=VALUE")
    parser.add_argument("--b", required=True, help="settings of the second")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    print(f"a: {options.a or 'default'}, b: {options.b}, {options.model}")
    print("| case | a, median s | b, median s | b / a, median (quartiles) |")
    print("| --- | --- | --- | --- |")
    with services(options.model, options.a, options.b) as pair:
        for name, case in CASES.items():
            rounds = [_round(pair, case) for _ in range(options.rounds + 1)][1:]
            ratios = [b / a for a, b in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4)
            a, b = (statistics.median(times) for times in zip(*rounds, strict=True))
            print(
                f"| {name} | {a:.3f} | {b:.3f} | {middle:.2f} ({low:.2f}–{high:.2f}) |", flush=True
            )
    return 0


def _round(pair: list[Service], case: tuple[int, int, int]) -> tuple[float, float]:
    """Both in turns; who begins changes, so that what the first warms up helps each as often."""
    order = [0, 1] if random.random() < 0.5 else [1, 0]
    times = {index: asyncio.run(_measure(pair[index].url, *case)) for index in order}
    return times[0], times[1]


if __name__ == "__main__":
    if not Path("service.py").exists():
        sys.exit("Run it in the repository.")
    sys.exit(main(sys.argv[1:]))
