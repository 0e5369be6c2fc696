"""A hundred decisions at once, with a deadline: who is let in is in time, the rest hear no at once.

Volleys without a deadline take turns with volleys that have one. What the service completes within
the deadline of a volley that may take its time is its capacity; what it completes in time of the
other kind is its goodput.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from statistics import mean

from loadtests.arrivals import volleys
from loadtests.figures import share
from loadtests.judgement import Threshold
from loadtests.prompts import ticket
from loadtests.records import Record
from loadtests.scenario import CHAT_PATH, Load, Scenario, Shot, chat
from loadtests.scenarios.decision import chat_decision, warm_decisions
from loadtests.tables import Table, number

SIZE = 100
EVERY_S = 30.0
DEADLINE_MS = 3000
FREE, BOUND = "without deadline", "with deadline"
AGAIN = " (again, when told)"
"""The client adds it to the name of a request that comes back."""
_RETURNING_EVERY = 10
_WARM_CHATS = 8
_WARM_TOKENS = 8


def _shots(load: Load) -> Iterator[Shot]:
    numbers = count(load.first_new)
    every_s = SIZE / load.rate
    for index, at_s in enumerate(volleys(every_s, load.seconds)):
        for place in range(SIZE):
            shot = chat_decision(at_s, next(numbers), BOUND if index % 2 else FREE)
            yield _bound(shot, place) if index % 2 else shot


def _warm(load: Load) -> list[Shot]:
    """Decisions, and longer answers: a deadline is judged by the speed of both kinds of step."""
    texts = (ticket(load.first_new - 1000 - index) for index in range(_WARM_CHATS))
    bodies = (chat(text, max_tokens=_WARM_TOKENS, ignore_eos=True) for text in texts)
    return [*(Shot(0, "warm", CHAT_PATH, body) for body in bodies), *warm_decisions(load)]


def _bound(shot: Shot, place: int) -> Shot:
    """Some come back, and only some: all at once would be the next burst."""
    returns = place % _RETURNING_EVERY == _RETURNING_EVERY - 1
    return replace(shot, headers={"x-slo-ttft-ms": str(DEADLINE_MS)}, comes_back=returns)


def volley_sizes(records: Sequence[Record], name: str) -> list[int]:
    """Of each volley of a kind, the requests that were complete within the deadline."""
    starts = sorted({record.intended_s for record in records if record.name == name})
    return [
        sum(
            record.is_ok and record.latency_ms <= DEADLINE_MS
            for record in records
            if record.name == name and record.intended_s == start
        )
        for start in starts
    ]


def _figures(records: Sequence[Record], _: Load) -> dict[str, float]:
    accepted = [record for record in records if record.name == BOUND and record.is_ok]
    refused = [record for record in records if record.name == BOUND and record.is_refused]
    again = [record for record in records if record.name == BOUND + AGAIN]
    capacity, goodput = volley_sizes(records, FREE), volley_sizes(records, BOUND)
    figures = {
        "late_ratio": share(accepted, lambda record: record.latency_ms > DEADLINE_MS),
        "untold_refusals": float(sum(record.retry_after_ms is None for record in refused)),
        # Where nobody was refused, nobody was told anything untrue.
        "true_retry_ratio": share(again, lambda record: record.is_ok) if again else 1.0,
    }
    if capacity and goodput and mean(capacity):
        figures["goodput_ratio"] = mean(goodput) / mean(capacity)
    if not any(record.is_refused for record in records):
        figures["refusal_p99_ms"] = 0.0
    return figures


def _tables(records: Sequence[Record], _: Load) -> list[Table]:
    rows = [
        (name, str(index + 1), str(size))
        for name in (FREE, BOUND)
        for index, size in enumerate(volley_sizes(records, name))
    ]
    title = f"Complete within {number(DEADLINE_MS)} ms, of {SIZE} in a volley"
    return [Table(title, ("volleys", "number", "complete in time"), rows)]


BURST = Scenario(
    name="burst",
    summary=f"Every {EVERY_S:g} seconds {SIZE} unique decisions start at the same moment; in every "
    f"second volley each has a deadline of {number(DEADLINE_MS)} ms (`x-slo-ttft-ms`). Every "
    "tenth of these that is refused comes back once, when its `retry-after-ms` has passed.",
    rate=SIZE / EVERY_S,
    minutes=4.0,
    shots=_shots,
    warm=_warm,
    figures=_figures,
    tables=_tables,
    thresholds=(
        Threshold("late_ratio", 0.05),
        Threshold("refusal_p99_ms", 500),
        Threshold("untold_refusals", 0),
        Threshold("true_retry_ratio", 0.9, is_ceiling=False),
        Threshold("goodput_ratio", 0.9, is_ceiling=False),
        Threshold("errors", 0),
    ),
    # A hundred requests have no gap between them: one after the other leaves the client.
    lag_limit_ms=250.0,
)
