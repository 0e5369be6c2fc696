"""Normal load: what most people ask was asked before. And the same for an hour."""

from collections.abc import Iterator
from dataclasses import replace

from loadtests.arrivals import poisson
from loadtests.judgement import Threshold
from loadtests.prompts import SYSTEM_PROMPT, repeated_with_some_new, ticket
from loadtests.scenario import CHAT_PATH, Load, Scenario, Shot, chat

KNOWN = 2000
NEW_EVERY = 20
ANSWER_TOKENS = 8


def _shot(at_s: float, number: int) -> Shot:
    body = chat(ticket(number), max_tokens=ANSWER_TOKENS, system=SYSTEM_PROMPT)
    return Shot(at_s, "repeated" if number < KNOWN else "new", CHAT_PATH, body)


def _shots(load: Load) -> Iterator[Shot]:
    random = load.random()
    numbers = repeated_with_some_new(
        random, known=KNOWN, new_every=NEW_EVERY, first_new=load.first_new
    )
    for at_s, number in zip(poisson(load.rate, load.seconds, random), numbers):  # noqa: B905  # numbers have no end
        yield _shot(at_s, number)


def _warm(_: Load) -> list[Shot]:
    return [_shot(0, number) for number in range(KNOWN)]


NORMAL = Scenario(
    name="normal",
    summary=f"Independent users send short chats of {ANSWER_TOKENS} tokens at most, greedy: 95 % "
    f"are drawn from {KNOWN:,} texts by Zipf's law and were answered before, 5 % are new: one in "
    f"every {NEW_EVERY}. The cache is warm at the start.",
    rate=50.0,
    minutes=10.0,
    shots=_shots,
    warm=_warm,
    thresholds=(Threshold("p95_ms", 300), Threshold("errors", 0), Threshold("refusals", 0)),
)

SOAK = replace(
    NORMAL,
    name="soak",
    summary=NORMAL.summary + " At a lower rate, for long: does memory grow?",
    rate=10.0,
    minutes=60.0,
    thresholds=(*NORMAL.thresholds, Threshold("memory_growth_ratio", 0.01)),
)
