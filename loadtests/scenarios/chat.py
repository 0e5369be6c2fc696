"""Unique conversations, streamed: what a person waits for, and how evenly the words then come."""

from collections.abc import Iterator
from itertools import count

from loadtests.arrivals import poisson
from loadtests.judgement import Threshold
from loadtests.prompts import story
from loadtests.scenario import CHAT_PATH, Load, Scenario, Shot, chat

PROMPT_WORDS = 40
ANSWER_TOKENS = 32
_WARM_REQUESTS = 10


def _shot(at_s: float, number: int) -> Shot:
    body = chat(
        story(number, PROMPT_WORDS),
        max_tokens=ANSWER_TOKENS,
        stream=True,
        stream_options={"include_usage": True},
        ignore_eos=True,
    )
    # Sampled, as conversations are: nothing is looked up, and nothing is kept.
    return Shot(at_s, "streamed chat", CHAT_PATH, {**body, "temperature": 0.7})


def _shots(load: Load) -> Iterator[Shot]:
    numbers = count(load.first_new)
    for at_s in poisson(load.rate, load.seconds, load.random()):
        yield _shot(at_s, next(numbers))


def _warm(load: Load) -> list[Shot]:
    return [_shot(0, load.first_new - 1 - number) for number in range(_WARM_REQUESTS)]


CHAT = Scenario(
    name="chat",
    summary=f"Independent users send unique prompts of {PROMPT_WORDS} words and are streamed "
    f"{ANSWER_TOKENS} sampled tokens each. Nothing can be cached.",
    rate=0.5,
    minutes=5.0,
    shots=_shots,
    warm=_warm,
    thresholds=(
        Threshold("first_p95_ms", 1500),
        Threshold("gap_p95_ms", 300),
        Threshold("errors", 0),
        Threshold("refusals", 0),
    ),
)
