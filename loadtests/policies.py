"""The router's policies on three workloads, and what the router costs; two replicas, demo model.

python -m loadtests.policies [--seconds 12] [--model phi3-demo]
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from loadtests.service import drop_own_settings, models_directory
from phi3_bento.fleet.probe import read_hits
from tests.fleets import Fleet, running_fleet

POLICIES = ("cache_aware", "power_of_two", "consistent_hash", "round_robin")
CLIENTS = 8
OUTPUT_TOKENS = 16
SYSTEM_WORDS = 250
PAIRS = 150
SESSION = "x-session-id"
"""A header, by which consistent_hash chooses; of a body it sees nothing."""

Request = tuple[dict[str, Any], dict[str, str]]
"""Body and headers."""


@dataclass
class Result:
    """What became of one workload under one policy."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0
    prefix_share: float = 0.0
    busiest_share: float = 0.0
    wall_s: float = 0.0

    def row(self) -> str:
        ordered = sorted(self.seconds)
        p50, p95 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.95))
        rate = len(ordered) / self.wall_s
        return (
            f"{rate:.1f} | {p50:.0f} | {p95:.0f} | {self.prefix_share:.0%} | "
            f"{self.busiest_share:.0%} | {self.failures}"
        )


def words(seed: int, count: int) -> str:
    """Text that is the same for the same seed."""
    source = random.Random(seed)
    return " ".join(source.choice(_WORDS) for _ in range(count))


_WORDS = (
    *("answer", "question", "invoice", "shipping", "praise", "refund", "order", "account", "total"),
    *("service", "number", "window", "morning", "garden", "river", "letter", "engine", "cloud"),
)


def shared_prompts(client: int, run: random.Random) -> Iterator[Request]:
    """Six system prompts, each asked by everybody."""
    while True:
        kind = run.randrange(6)
        question = words(run.randrange(2**30), 8)
        yield _body([_system(kind), {"role": "user", "content": question}]), {}


def sessions(client: int, run: random.Random) -> Iterator[Request]:
    """Each client has conversations of six turns of its own, which grow."""
    while True:
        session = f"session-{client}-{run.randrange(2**30)}"
        messages: list[dict[str, str]] = [
            {"role": "system", "content": words(run.randrange(2**30), 120)}
        ]
        for _ in range(6):
            messages.append({"role": "user", "content": words(run.randrange(2**30), 20)})
            yield _body(list(messages)), {SESSION: session}
            messages.append({"role": "assistant", "content": words(run.randrange(2**30), 16)})


def hot_key(client: int, run: random.Random) -> Iterator[Request]:
    """Nine requests of ten have one system prompt and come from one user."""
    while True:
        is_hot = run.random() < 0.9
        kind = 0 if is_hot else 1 + run.randrange(50)
        question = words(run.randrange(2**30), 8)
        body = _body([_system(kind), {"role": "user", "content": question}])
        yield body, {SESSION: f"user-{kind}"}


def _system(kind: int) -> dict[str, str]:
    return {"role": "system", "content": words(1000 + kind, SYSTEM_WORDS)}


def _body(messages: list[dict[str, str]]) -> dict[str, Any]:
    return {"messages": messages, "max_tokens": OUTPUT_TOKENS, "temperature": 0}


WORKLOADS = {"shared system prompts": shared_prompts, "sessions": sessions, "hot key": hot_key}


def run_workload(fleet: Fleet, make: Any, seconds: float) -> Result:
    """Eight clients, one request each at a time."""
    before = _counts(fleet)
    result = Result()
    began_at = time.monotonic()
    asyncio.run(_clients(fleet, make, began_at + seconds, result))
    result.wall_s = time.monotonic() - began_at
    after = _counts(fleet)
    answered = [new[0] - old[0] for new, old in zip(after, before, strict=True)]
    prompt, cached = (
        sum(new[which] - old[which] for new, old in zip(after, before, strict=True))
        for which in (1, 2)
    )
    result.prefix_share = cached / max(1, prompt)
    result.busiest_share = max(answered) / max(1, sum(answered))
    return result


async def _clients(fleet: Fleet, make: Any, until: float, result: Result) -> None:
    async def one(number: int) -> None:
        requests = make(number, random.Random(number))
        options = {"headers": fleet.headers, "timeout": 120.0, "trust_env": False}
        async with httpx.AsyncClient(base_url=fleet.url, **options) as client:
            while time.monotonic() < until:
                body, headers = next(requests)
                began_at = time.monotonic()
                response = await client.post("/v1/chat/completions", json=body, headers=headers)
                if response.is_success:
                    result.seconds.append(time.monotonic() - began_at)
                else:
                    result.failures += 1

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))


def _counts(fleet: Fleet) -> list[tuple[float, float, float]]:
    """Of each replica: answered requests, prompt tokens, those of them from the KV cache."""
    counts = []
    for number in (1, 2):
        text = httpx.get(f"{fleet.replica_url(number)}/metrics", headers=fleet.headers).text
        prompt = sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith('phi3_tokens_total{kind="prompt"}')
        )
        hits = read_hits(text)
        counts.append((float(hits.answered), prompt, prompt * (hits.prefix_share or 0.0)))
    return counts


def overhead(fleet: Fleet) -> str:
    """The same request by the router and straight to a replica, in turns."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "temperature": 0}
    urls = {"by the router": fleet.url, "straight": fleet.replica_url(1)}
    times: dict[str, list[float]] = {name: [] for name in urls}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                httpx.Client(base_url=url, headers=fleet.headers, timeout=60, trust_env=False)
            )
            for name, url in urls.items()
        }
        for turn in range(PAIRS):
            for name in sorted(urls, reverse=bool(turn % 2)):
                began_at = time.perf_counter()
                clients[name].post("/v1/chat/completions", json=body).raise_for_status()
                times[name].append((time.perf_counter() - began_at) * 1000)
    differences = sorted(
        routed - straight
        for routed, straight in zip(times["by the router"], times["straight"], strict=True)
    )
    quartiles = statistics.quantiles(differences, n=4)
    lines = [f"{name}: p50 {statistics.median(each):.2f} ms" for name, each in times.items()]
    return (
        "; ".join(lines)
        + f"; difference of pairs, median (quartiles): {quartiles[1]:.2f} "
        + f"({quartiles[0]:.2f}-{quartiles[2]:.2f}) ms, {PAIRS} pairs"
    )


def main() -> None:
    """Measure every policy, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--model", default="phi3-demo")
    parser.add_argument("--policies", nargs="*", default=POLICIES)
    options = parser.parse_args()
    models = models_directory()
    drop_own_settings()
    print("policy | workload | requests/s | p50 ms | p95 ms | prefix | busiest | failed")
    for policy in options.policies:
        with tempfile.TemporaryDirectory(prefix="phi3-policies-") as name:
            (Path(name) / "models").symlink_to(models)
            # Without the exact cache: what is measured is the engine behind it.
            env = {"PHI3_MODEL": options.model, "PHI3_MEMORY": "3GiB", "PHI3_CACHE": "false"}
            with running_fleet(Path(name), env, "--policy", policy) as fleet:
                if policy == "cache_aware":
                    print("overhead:", overhead(fleet), flush=True)
                for title, make in WORKLOADS.items():
                    result = run_workload(fleet, make, options.seconds)
                    print(f"{policy} | {title} | {result.row()}", flush=True)


if __name__ == "__main__":
    main()
