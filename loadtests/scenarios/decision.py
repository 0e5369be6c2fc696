"""Lightweight operations: one token after a system prompt that the engine has read already."""

from collections.abc import Iterator
from itertools import count

from loadtests.arrivals import poisson
from loadtests.judgement import Threshold
from loadtests.prompts import LABELS, SYSTEM_PROMPT, ticket
from loadtests.scenario import CHAT_PATH, CLASSIFY_PATH, Load, Scenario, Shot, chat

_WARM_REQUESTS = 40


def chat_decision(at_s: float, number: int, name: str = "one-token chat") -> Shot:
    """A decision by OpenAI's API."""
    body = chat(ticket(number), max_tokens=1, system=SYSTEM_PROMPT)
    return Shot(at_s, name, CHAT_PATH, body)


def classify_decision(at_s: float, number: int) -> Shot:
    """A decision by the native API, which reads the labels' probabilities."""
    item = {"text": ticket(number), "labels": LABELS, "instruction": SYSTEM_PROMPT}
    return Shot(at_s, "classify", CLASSIFY_PATH, {"items": [item]})


def _shots(load: Load) -> Iterator[Shot]:
    random = load.random()
    numbers = count(load.first_new)
    for at_s in poisson(load.rate, load.seconds, random):
        make = random.choice((chat_decision, classify_decision))
        yield make(at_s, next(numbers))


def warm_decisions(load: Load) -> list[Shot]:
    """Both ways in turns: the prefix is read, and speeds are learned."""
    numbers = range(load.first_new - _WARM_REQUESTS, load.first_new)
    return [(chat_decision, classify_decision)[number % 2](0, number) for number in numbers]


DECISION = Scenario(
    name="decision",
    summary="Independent users send unique decisions: one token of an answer, by chat and by "
    "`classify`, after a common system prompt of about 200 tokens that the engine has in its "
    "prefix cache. Nothing comes from the answer cache.",
    rate=2.0,
    minutes=5.0,
    shots=_shots,
    warm=warm_decisions,
    thresholds=(Threshold("p95_ms", 300), Threshold("errors", 0), Threshold("refusals", 0)),
)
