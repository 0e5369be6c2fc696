"""The arithmetic of `phi3-bento plan --rps` beside what one and two replicas really do.

python -m loadtests.capacity [--seconds 15] [--prompt 256] [--output 32]

Prefill and decode are measured alone on one replica; from them the arithmetic says how many mixed
requests a second one and two replicas answer when they are always busy; then that is measured.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from loadtests.policies import words
from loadtests.service import drop_own_settings, models_directory
from phi3_bento.fleet.capacity import BUSY_SHARE, Demand, Speed, need_of
from tests.fleets import Fleet, running_fleet

CLIENTS_PER_REPLICA = 8
Body = Callable[[random.Random], dict[str, Any]]


def main() -> None:
    """Measure, and print what the arithmetic says beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="phi3-demo")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--output", type=int, default=32)
    options = parser.parse_args()
    models = models_directory()
    drop_own_settings()
    with tempfile.TemporaryDirectory(prefix="phi3-capacity-") as name:
        (Path(name) / "models").symlink_to(models)
        env = {"PHI3_MODEL": options.model, "PHI3_MEMORY": "3GiB", "PHI3_CACHE": "false"}
        arguments = ("--policy", "round_robin")
        with running_fleet(Path(name), env, *arguments) as fleet:
            _compare(fleet, options.seconds, options.words, options.output)


def _compare(fleet: Fleet, seconds: float, count: int, output: int) -> None:
    prefill_rate, prompt = _measure(fleet, 1, seconds, lambda run: _body(run, count, 1))
    decode_rate, _ = _measure(fleet, 1, seconds, lambda run: _body(run, 1, 256))
    speed = Speed(prefill=prefill_rate * prompt, decode=decode_rate * 256)
    print(f"alone: prefill {speed.prefill:.0f} tokens/s, decode {speed.decode:.0f} tokens/s")
    for replicas in (1, 2):
        said = need_of(Demand(1, 0, prompt, output), speed).requests_per_s / BUSY_SHARE * replicas
        rate, _ = _measure(fleet, replicas, seconds, lambda run: _body(run, count, output))
        print(
            f"{replicas} replicas, {prompt:.0f} + {output} tokens: said {said:.1f}, "
            f"measured {rate:.1f} requests/s ({rate / said:.2f})"
        )


def _body(run: random.Random, count: int, output: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": words(run.randrange(2**30), count)}]
    return {"messages": messages, "max_tokens": output, "temperature": 0, "ignore_eos": True}


def _measure(fleet: Fleet, replicas: int, seconds: float, body: Body) -> tuple[float, float]:
    """Requests a second, and tokens of a prompt: of one replica, or of all by the router."""
    url = fleet.replica_url(1) if replicas == 1 else fleet.url
    return asyncio.run(_clients(fleet, url, CLIENTS_PER_REPLICA * replicas, seconds, body))


async def _clients(
    fleet: Fleet, url: str, clients: int, seconds: float, body: Body
) -> tuple[float, float]:
    prompts: list[int] = []
    began_at = time.monotonic()

    async def one(number: int) -> None:
        run = random.Random(number + int(time.time() * 1000))
        options = {"headers": fleet.headers, "timeout": 120.0, "trust_env": False}
        async with httpx.AsyncClient(base_url=url, **options) as client:
            while time.monotonic() - began_at < seconds:
                response = await client.post("/v1/chat/completions", json=body(run))
                prompts.append(int(response.json()["usage"]["prompt_tokens"]))

    await asyncio.gather(*(one(number) for number in range(clients)))
    return len(prompts) / (time.monotonic() - began_at), sum(prompts) / max(1, len(prompts))


if __name__ == "__main__":
    main()
