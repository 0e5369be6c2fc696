"""What watching costs a cache hit: metrics, log and traces together, against the same without.

    python -m loadtests.observability
    python -m loadtests.observability --parts --cycles 60

One service is asked by wrk without a pause, while by turns nobody and all listeners hear of its
requests (`loadtests/watched`). Judged is the CPU that its process takes for a request, in a turn
against the turns without listeners of the same cycle. `on` is as it comes, with a collector: JSON
lines to a file, one request in a hundred traced. Spans are sent at the end of each turn, which a
service does every 5 s. With --parts there are turns of each listener alone, and of `all`, which
traces every request. Exit code 1 when `on` costs too much.
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from loadtests.hits import ask, ask_once, limited
from tests.collector import otlp_collector
from tests.support import REPOSITORY, bentoml_command, running, wait_for

WATCHED = REPOSITORY / "loadtests" / "watched"
ASKED_S = 5
_WARM_S = 3

Cycle = dict[str, float]
"""Microseconds of CPU a request, by turn."""


def measure(options: argparse.Namespace) -> list[Cycle]:
    """Ask the service until it has taken all its turns."""
    with ExitStack() as stack:
        collector = stack.enter_context(otlp_collector())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "PHI3_ENGINE": options.engine,
            "PHI3_OTLP_ENDPOINT": collector.url,
            "PHI3_TRACE_SHARE": "0.01",
            "WATCHED_DIRECTORY": str(directory),
            "WATCHED_CYCLES": str(options.cycles),
            "WATCHED_TURN_S": str(options.turn),
            "WATCHED_PARTS": str(options.parts),
        }
        command = bentoml_command("watched:Phi3Service")
        service = stack.enter_context(running(command, directory, settings, WATCHED))
        asked = limited("watched", service)

        def is_hit() -> bool:
            # A service takes a moment to learn of its first key.
            return "hit" in ask_once(asked).headers.get("cache-status", "")

        wait_for(is_hit, "a hit")
        ask(asked, _WARM_S, options.connections, directory)
        (directory / "go").touch()
        while not (directory / "turns.json").exists():
            ask(asked, ASKED_S, options.connections, directory)
            collector.spans.clear()
        cycles: list[Cycle] = json.loads((directory / "turns.json").read_text())
    return cycles


def costs(cycles: list[Cycle], name: str) -> list[float]:
    """How much more a turn took than those without listeners, as a share, cycle by cycle."""
    return [
        cycle[name] / statistics.mean((cycle["off"], cycle["off again"])) - 1 for cycle in cycles
    ]


def report(cycles: list[Cycle], options: argparse.Namespace) -> int:
    """Print what was measured; the exit code."""
    print(f"{options.connections} connections, {len(cycles)} cycles of turns of {options.turn} s\n")
    print("| | CPU µs a request, median | against off, median (quartiles) |")
    print("| --- | --- | --- |")
    for name in cycles[0]:
        middle = statistics.median(cycle[name] for cycle in cycles)
        print(f"| {name} | {middle:.0f} | {share(costs(cycles, name))} |")
    return int(statistics.median(costs(cycles, "on")) > options.most)


def share(values: list[float]) -> str:
    """Median and quartiles, in percent."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="echo", choices=["vllm", "echo"])
    parser.add_argument("--cycles", type=int, default=150)
    parser.add_argument("--parts", action="store_true", help="also one by one")
    parser.add_argument("--turn", type=float, default=0.5, help="seconds")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--most", type=float, default=0.05)
    options = parser.parse_args()
    return report(measure(options), options)


if __name__ == "__main__":
    sys.exit(main())
