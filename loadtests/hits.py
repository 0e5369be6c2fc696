"""Exact cache hits beside a trivial route in an untuned BentoML service: rates, latencies, ratio.

    python -m loadtests.hits --rounds 5
    python -m loadtests.hits --litellm VENV/bin/litellm

A hit is authenticated, limited, metered and written to the ledger, like every request. Both
services run at the same time and are asked in turns by wrk (Debian's package), which shares the
machine with them. With --litellm also LiteLLM's proxy, a hit in its local cache (the program comes
from an environment of its own: `pip install 'litellm[proxy]'`). Exit code 1 when a ratio or a time
is beyond its limit.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from loadtests.compare.contestants import Contestant, litellm_proxy
from tests.api.test_access import run_keys
from tests.support import REPOSITORY, Service, free_port, running, serve_command, wait_for

PATH = "/v1/chat/completions"
BODY = (
    '{"model":"MODEL","messages":[{"role":"user","content":"Is this review positive: I love it."}],'
    '"temperature":0,"max_tokens":8}'
)
PLENTY = str(10**9)
LIMITS = ("--requests-per-minute", "--tokens-per-minute", "--tokens-per-day")

_SCRIPT = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "{authorization}"
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Result:
    """One round of one service."""

    rate: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float


def ask(asked: Contestant, seconds: int, connections: int, directory: Path) -> Result:
    """Send one request over and over; raises unless every answer is good."""
    script = directory / "request.lua"
    authorization = asked.headers["authorization"]
    script.write_text(_SCRIPT.format(body=_body(asked), authorization=authorization))
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    load = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    command = [wrk, *load, asked.url + PATH]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{asked.name} did not answer every request:\n{output}")
    return Result(_number(r"Requests/sec:\s+([\d.]+)", output), *_latencies(output))


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said what nobody understands:\n{text}")
    return float(match[1])


def _latencies(output: str) -> tuple[float, float]:
    found = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", output))
    return _milliseconds(found["50"]), _milliseconds(found["99"])


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


@contextmanager
def trivial() -> Iterator[str]:
    """The untuned service, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service:Trivial", "--port", str(port)]
    folder = REPOSITORY / "loadtests" / "trivial"
    with tempfile.TemporaryDirectory() as home, Path(home, "log").open("w") as log:
        variables = {**os.environ, "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        process = subprocess.Popen(  # noqa: S603  # ourselves
            command, cwd=folder, env=variables, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _is_ready(url), "the trivial service")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url + "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def inside_ms(asked: Contestant, requests: int = 200) -> float:
    """The median time of a hit inside the service, by its own Server-Timing, milliseconds."""
    headers = {**asked.headers, "content-type": "application/json"}
    times = []
    with httpx.Client(base_url=asked.url, headers=headers) as client:
        for _ in range(requests):
            answer = client.post(PATH, content=_body(asked))
            if "hit" not in answer.headers["cache-status"]:
                raise SystemExit(f"not a hit: {answer.headers['cache-status']}")
            times.append(_number(r"total;dur=([\d.]+)", answer.headers["server-timing"]))
    return statistics.median(times)


def ask_once(asked: Contestant) -> httpx.Response:
    """The same request, alone."""
    headers = {**asked.headers, "content-type": "application/json"}
    return httpx.post(asked.url + PATH, content=_body(asked), headers=headers, timeout=120)


def _body(asked: Contestant) -> str:
    return BODY.replace("MODEL", asked.model)


def limited(name: str, service: Service) -> Contestant:
    """This service, asked with a key that has every limit, and never reaches one."""
    model = httpx.get(service.url + "/v1/models").json()["data"][0]["id"]
    limits = [word for limit in LIMITS for word in (limit, PLENTY)]
    limits += ["--concurrent-requests", "999"]
    key = run_keys(service, "create", "--tenant", "load", *limits)
    return Contestant(name, service.url, model, {"authorization": f"Bearer {key}"})


@contextmanager
def contestants(options: argparse.Namespace, directory: Path) -> Iterator[list[Contestant]]:
    """The trivial service, this one with a key that has every limit, and LiteLLM if it is given."""
    with ExitStack() as stack:
        environment = {"PHI3_ENGINE": options.engine}
        if options.model:
            environment["PHI3_MODEL"] = options.model
        service = stack.enter_context(running(serve_command(), directory, environment))
        hit = limited("hit", service)
        asked = [replace(hit, name="trivial", url=stack.enter_context(trivial())), hit]
        if options.litellm:
            asked.append(stack.enter_context(litellm_proxy(options.litellm, hit)))
        yield asked


def measure(options: argparse.Namespace) -> int:
    """Measure, print a Markdown table, compare with the limits."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        everybody = stack.enter_context(contestants(options, directory))
        for asked in everybody:
            ask_once(asked).raise_for_status()
        results: dict[str, list[Result]] = {asked.name: [] for asked in everybody}
        for number in range(options.rounds + 1):
            for asked in everybody:
                result = ask(asked, options.seconds, options.connections, directory)
                if number:  # the first round warms up
                    results[asked.name].append(result)
        (hit,) = (asked for asked in everybody if asked.name == "hit")
        inside = inside_ms(hit)
    return report(results, inside, options)


def report(results: dict[str, list[Result]], inside: float, options: argparse.Namespace) -> int:
    """Print what was measured; the exit code."""
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s\n")
    print("| | requests/s, median (least–most) | p50 ms | p99 ms |\n| --- | --- | --- | --- |")
    for name, rounds in results.items():
        rates = sorted(result.rate for result in rounds)
        p50 = statistics.median(result.p50_ms for result in rounds)
        p99 = statistics.median(result.p99_ms for result in rounds)
        middle = statistics.median(rates)
        print(
            f"| {name} | {middle:,.0f} ({rates[0]:,.0f}–{rates[-1]:,.0f}) | {p50:.1f} | {p99:.1f} |"
        )
    ratio = 0.0
    for name in (name for name in results if name != "hit"):
        rounds = zip(results["hit"], results[name], strict=True)
        ratios = [hit.rate / other.rate for hit, other in rounds]
        middle = statistics.median(ratios)
        ratio = ratio or middle  # the trivial service comes first
        print(f"\nhit / {name}: {middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
    print(f"inside the service, one after the other: p50 {inside:.2f} ms")
    return int(ratio < options.least_ratio or inside > options.most_ms)


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="vllm", choices=["vllm", "echo"])
    parser.add_argument("--model", help="unset: the demo model")
    parser.add_argument("--litellm", type=Path, help="the program of LiteLLM's proxy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--least-ratio", type=float, default=0.8)
    parser.add_argument("--most-ms", type=float, default=1.5)
    return measure(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
