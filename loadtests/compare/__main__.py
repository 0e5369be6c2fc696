"""Compare this service with others, asked in turns while all of them run.

    python -m loadtests.compare vllm --model phi3-demo
    python -m loadtests.compare llama --model synthetic:phi-3-mini --python PYTHON q8_0.gguf
    python -m loadtests.compare plain --set PHI3_X=Y --model CHAIN --text copied

Prompts are unique and answers sampled: nothing comes from a cache. Each ratio is this
service's figure over the other's, median and range of the rounds.
"""

import argparse
import asyncio
import statistics
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from loadtests.compare.contestants import (
    Contestant,
    llama_cpp,
    openvino,
    phi3_bento,
    vllm_server,
)
from loadtests.compare.texts import TEXTS
from loadtests.compare.timing import Shape, rate, streams
from loadtests.surroundings import hardware, versions
from loadtests.tables import Table, number

OTHERS = ("vllm", "llama", "openvino", "plain")

Rounds = dict[str, list[float]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.compare", description=__doc__)
    parser.add_argument("other", choices=OTHERS, help="plain: this, without --set")
    parser.add_argument("weights", nargs="*", type=Path, help="for llama and openvino")
    parser.add_argument("--model", default="phi3-demo")
    parser.add_argument("--python", type=Path, help="that has llama_cpp, or openvino_genai")
    parser.add_argument("--executor", choices=["same", "default"], default="same")
    parser.add_argument("--plain", action="store_true", help="also this service without --set")
    parser.add_argument(
        "--text", choices=TEXTS, default="sampled", help="others than sampled: chain_weights"
    )
    parser.add_argument("--set", action="append", default=[], metavar="PHI3_X=Y")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=5, help="streams of a round")
    parser.add_argument("--words", type=int, default=40, help="of a prompt")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--requests", type=int, default=4, help="of a connection, in a round")
    parser.add_argument("--connections", default="1,8,32")
    return parser


def _contestants(stack: ExitStack, options: argparse.Namespace) -> list[Contestant]:
    settings = dict(part.split("=", 1) for part in options.set)
    contestants = [phi3_bento(options.model, settings)]
    if options.plain or options.other == "plain":
        contestants.append(phi3_bento(options.model, {}, name="without --set"))
    if options.other == "vllm":
        contestants.append(vllm_server(options.model, executor=options.executor))
    start = openvino if options.other == "openvino" else llama_cpp
    contestants += [start(options.python, weights) for weights in options.weights]
    return [stack.enter_context(contestant) for contestant in contestants]


async def _round(contestant: Contestant, options: argparse.Namespace) -> dict[str, float]:
    shape = Shape(options.words, options.tokens, options.text)
    one = await streams(contestant, shape, options.streams)
    figures = {"first token, ms": one.first_s * 1000, "between tokens, ms": one.gap_s * 1000}
    for at_once in (int(text) for text in options.connections.split(",") if text):
        answers = await rate(contestant, shape, at_once, at_once * options.requests)
        figures[f"answers/s, {at_once} at once"] = answers
    return figures


def measure(options: argparse.Namespace) -> dict[str, Rounds]:
    """The figures of every round by contestant; the first round warms up."""
    results: dict[str, Rounds] = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        contestants = _contestants(stack, options)
        for turn in range(options.rounds + 1):
            for contestant in contestants if turn % 2 else reversed(contestants):
                figures = asyncio.run(_round(contestant, options))
                if turn:
                    for name, value in figures.items():
                        results[contestant.name][name].append(value)
    return results


def table(results: dict[str, Rounds]) -> Table:
    """Medians, and ratios with their range."""
    ours = results["phi3-bento"]
    others = [name for name in results if name != "phi3-bento"]
    rows = []
    for figure, values in ours.items():
        row = [figure, number(statistics.median(values))]
        for name in others:
            theirs = results[name][figure]
            ratios = [mine / other for mine, other in zip(values, theirs, strict=True)]
            middle = statistics.median(ratios)
            row.append(number(statistics.median(theirs)))
            row.append(f"{middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
        rows.append(row)
    header = ["", "phi3-bento"]
    for name in others:
        header += [name, "ratio, median (range)"]
    return Table("Side by side", header, rows)


def main() -> None:
    """Measure, and print a table."""
    options = _parser().parse_args()
    print(table(measure(options)).markdown())
    print(f"{options.rounds} rounds. {versions()}, {hardware()}.")


if __name__ == "__main__":
    main()
