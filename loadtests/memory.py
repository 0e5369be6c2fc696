"""Minutes of mixed load inside a memory cgroup, with a report of what was used, over time.

    sudo .venv/bin/python -m loadtests.memory --model synthetic:phi-3-mini --minutes 10

Chats short and long, whole and streamed, some given up by their client, and decisions, many at
once, so that the KV cache fills. Exit code 1 when the limit was touched, a process was killed, or
a request failed otherwise than by our own hang-up.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import matplotlib as mpl

from loadtests.cgroup import Cgroup, cgroup
from phi3_bento import __version__
from tests.support import free_port, wait_for

mpl.use("svg")

SAMPLE_S = 0.25
GIB = 2**30
MIB = 2**20
WORDS = ["parcel", "invoice", "order", "late", "thank", "refund", "login", "price", "blue", "city"]


@dataclass
class Run:
    """What happened."""

    samples: list[tuple[float, int, int]] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        """Note how a request ended."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    @property
    def peak_bytes(self) -> int:
        """The most that was used at a time."""
        return max(used for _, used, _ in self.samples)


def _text(words: int) -> str:
    return " ".join(random.choices(WORDS, k=words))


async def _one_request(client: httpx.AsyncClient, run: Run) -> None:
    kind = random.choices(
        ["decision", "short", "stream", "long", "hang-up"], weights=[30, 30, 20, 15, 5]
    )[0]
    if kind == "decision":
        items = [
            {"text": _text(random.randint(5, 60)), "labels": ["billing", "shipping", "praise"]}
            for _ in range(random.randint(1, 8))
        ]
        response = await client.post("/classify", json={"items": items})
        run.count(f"{kind} {response.status_code}")
        return
    words, tokens = {"long": (random.randint(300, 2500), 16), "hang-up": (200, 200)}.get(
        kind, (random.randint(3, 60), random.randint(4, 64))
    )
    body = {"messages": [{"role": "user", "content": _text(words)}], "max_tokens": tokens}
    if kind == "stream":
        async with client.stream(
            "POST", "/v1/chat/completions", json=body | {"stream": True}
        ) as response:
            lines = [line async for line in response.aiter_lines() if line]
        ended = lines[-1] == "data: [DONE]" and '"error"' not in lines[-2]
        run.count(f"{kind} {response.status_code if ended else 'broken'}")
        return
    timeout = 1.0 if kind == "hang-up" else 900.0
    try:
        response = await client.post("/v1/chat/completions", json=body, timeout=timeout)
        run.count(f"{kind} {response.status_code}")
    except httpx.ReadTimeout:
        run.count(f"{kind} {'as meant' if kind == 'hang-up' else 'timed out'}")


async def _load(url: str, run: Run, group: Cgroup, seconds: float, concurrency: int) -> None:
    deadline = time.monotonic() + seconds
    started = time.monotonic()

    async def sample() -> None:
        while True:
            used, cache = group.used_bytes(), group.cache_bytes()
            run.samples.append((time.monotonic() - started, used, cache))
            await asyncio.sleep(SAMPLE_S)

    async def client_loop(client: httpx.AsyncClient) -> None:
        while time.monotonic() < deadline:
            await _one_request(client, run)

    sampler = asyncio.create_task(sample())
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, timeout=900, limits=limits) as client:
        await asyncio.gather(*(client_loop(client) for _ in range(concurrency)))
    sampler.cancel()


def _plot(run: Run, limit_bytes: int, path: Path) -> None:
    from matplotlib import pyplot  # noqa: PLC0415  # after the backend is chosen

    figure, axes = pyplot.subplots(figsize=(8, 3.2))
    minutes = [at / 60 for at, _, _ in run.samples]
    axes.plot(minutes, [used / GIB for _, used, _ in run.samples], label="processes")
    axes.axhline(limit_bytes / GIB, color="tab:red", linestyle="--", label="limit")
    axes.set(xlabel="minutes of load", ylabel="GiB", ylim=(0, limit_bytes / GIB * 1.08))
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _report(run: Run, options: argparse.Namespace, plan: dict[str, int], kills: int) -> str:
    peak, limit = run.peak_bytes, options.memory_gib * GIB
    deviation = plan["peak_bytes"] / peak - 1
    rows = "".join(f"| {name} | {count} |\n" for name, count in sorted(run.outcomes.items()))
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"# Memory under load: {plan['model']}\n\n"
        f"Made by `python -m loadtests.memory --model {options.model} --minutes "
        f"{options.minutes:g} --concurrency {options.concurrency}`, phi3-bento {__version__}, on "
        f"two cores of a {cpu}, in a memory cgroup of {options.memory_gib} GiB. Used is what "
        "the kernel cannot take back: anonymous and shared pages of the whole tree.\n\n"
        f"| figure | value |\n| --- | --- |\n"
        f"| limit | {limit / MIB:,.0f} MiB |\n"
        f"| peak | {peak / MIB:,.0f} MiB ({peak / limit:.1%} of the limit) |\n"
        f"| planned peak (`phi3-bento plan`) | {plan['peak_bytes'] / MIB:,.0f} MiB "
        f"({deviation:+.1%}) |\n"
        f"| before the load | {run.samples[0][1] / MIB:,.0f} MiB |\n"
        f"| processes killed for memory | {kills} |\n\n"
        f"![memory over time](images/{options.name}.svg)\n\n"
        f"| request | count |\n| --- | --- |\n{rows}"
    )


def _serve_in(group: Cgroup, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as stream:
        return subprocess.Popen(  # our own interpreter
            [sys.executable, "-m", "phi3_bento", "serve", "--verbose"],
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=group.enter,  # noqa: PLW1509  # one thread; writes two files
        )


def _options_from(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="synthetic:phi-3-mini")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--concurrency", type=int, default=24)
    parser.add_argument("--memory-gib", type=int, default=8)
    parser.add_argument("--name", default="memory-synthetic")
    parser.add_argument("--reports", type=Path, default=Path("docs/reports"))
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run, report, and tell by the exit code whether the memory held."""
    options = _options_from(arguments)
    random.seed(3)
    port, run = free_port(), Run()
    environment = os.environ | {"PHI3_MODEL": options.model, "PHI3_PORT": str(port)}
    planned = [sys.executable, "-m", "phi3_bento", "plan", "--json"]
    plan = json.loads(subprocess.check_output(planned, env=environment))  # noqa: S603
    url = f"http://127.0.0.1:{port}"
    log = Path(f"/tmp/{options.name}.log")  # noqa: S108  # a report's log, not a secret
    with cgroup("phi3-memory", memory_bytes=options.memory_gib * GIB) as group:
        process = _serve_in(group, environment, log)
        try:
            wait_for(lambda: _is_ready(url) or process.poll() is not None, "ready", 600)
            asyncio.run(_load(url, run, group, options.minutes * 60, options.concurrency))
        finally:
            process.terminate()
            process.wait(timeout=120)
        kills = group.oom_kills()
    images = options.reports / "images"
    images.mkdir(parents=True, exist_ok=True)
    _plot(run, options.memory_gib * GIB, images / f"{options.name}.svg")
    text_ = _report(run, options, plan, kills)
    (options.reports / f"{options.name}.md").write_text(text_)
    print(text_)
    # A refusal for overload is an answer: what is measured here is memory.
    meant = {"200", "503", "as meant"}
    failed = [name for name in run.outcomes if name.partition(" ")[2] not in meant]
    return 1 if kills or failed or run.peak_bytes >= options.memory_gib * GIB else 0


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
