"""What watching costs a cache hit: metrics, log and traces together, against the same without.

    python -m loadtests.observability --rounds 10

The services run at the same time and are asked in turns by wrk, so that whatever else the machine
does meets all alike. Judged is the CPU that a service takes for a request, which other work on the
machine changes less than rates. `on` is as it comes, with a collector: JSON lines to a file, one
request in a hundred traced. `all` traces every request. Exit code 1 when `on` costs too much.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtests.compare.contestants import Contestant
from loadtests.hits import Result, ask, ask_once, limited
from tests.collector import otlp_collector
from tests.support import REPOSITORY, Service, bentoml_command, running, wait_for

SILENT = REPOSITORY / "loadtests" / "silent"


@dataclass(frozen=True)
class Subject:
    """A service under load."""

    service: Service
    asked: Contestant
    directory: Path

    def cpu_s(self) -> float:
        """What its processes have used so far."""
        root = psutil.Process(self.service.process.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@dataclass(frozen=True)
class Round:
    """One service, asked for some seconds."""

    result: Result
    cpu_ms: float
    """CPU for one request."""


@contextmanager
def subject(name: str, options: argparse.Namespace, collector: str) -> Iterator[Subject]:
    """Start one of them, with a key that has every limit and an answer that is kept."""
    traces = {"on": "0.01", "all": "1"}
    settings = {"PHI3_ENGINE": options.engine}
    command, folder = bentoml_command(), REPOSITORY
    if name == "off":
        command, folder = bentoml_command("silent:Phi3Service"), SILENT
    else:
        settings |= {"PHI3_OTLP_ENDPOINT": collector, "PHI3_TRACE_SHARE": traces[name]}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = stack.enter_context(running(command, directory, settings, folder))
        asked = limited(name, service)

        def is_hit() -> bool:
            # A service takes a moment to learn of its first key.
            return "hit" in ask_once(asked).headers.get("cache-status", "")

        wait_for(is_hit, f"a hit of {name}")
        yield Subject(service, asked, directory)


def measure(each: Subject, options: argparse.Namespace) -> Round:
    """Ask it for a while."""
    before = each.cpu_s()
    result = ask(each.asked, options.seconds, options.connections, each.directory)
    return Round(result, (each.cpu_s() - before) * 1000 / (result.rate * options.seconds))


def run(options: argparse.Namespace) -> int:
    """Measure, print a Markdown table, compare with the limit."""
    names = ("off", "on", "all")
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    with ExitStack() as stack:
        collector = stack.enter_context(otlp_collector())
        subjects = {
            name: stack.enter_context(subject(name, options, collector.url)) for name in names
        }
        for number in range(options.rounds + 1):
            # In turns, and not always the same one first.
            for name in names if number % 2 else reversed(names):
                measured = measure(subjects[name], options)
                if number:  # the first round warms up
                    rounds[name].append(measured)
            collector.spans.clear()
    return report(rounds, options)


def report(rounds: dict[str, list[Round]], options: argparse.Namespace) -> int:
    """Print what was measured; the exit code."""
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s\n")
    print("| | requests/s, median | p50 ms | p99 ms | CPU ms a request, median (quartiles) |")
    print("| --- | --- | --- | --- | --- |")
    for name, each in rounds.items():
        rate, p50, p99 = (
            statistics.median(getattr(one.result, what) for one in each)
            for what in ("rate", "p50_ms", "p99_ms")
        )
        cpu = spread(one.cpu_ms for one in each)
        print(f"| {name} | {rate:,.0f} | {p50:.1f} | {p99:.1f} | {cpu} |")
    for name in ("on", "all"):
        pairs = list(zip(rounds[name], rounds["off"], strict=True))
        cpu = [one.cpu_ms / other.cpu_ms - 1 for one, other in pairs]
        rate = [one.result.rate / other.result.rate - 1 for one, other in pairs]
        print(f"\n{name} against off, CPU a request: {share(cpu)}; requests/s: {share(rate)}")
    cost = statistics.median(
        one.cpu_ms / other.cpu_ms - 1
        for one, other in zip(rounds["on"], rounds["off"], strict=True)
    )
    return int(cost > options.most)


def spread(values: Iterator[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(list(values), n=4)
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


def share(values: list[float]) -> str:
    """Median and quartiles, in percent."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="echo", choices=["vllm", "echo"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--most", type=float, default=0.05)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
