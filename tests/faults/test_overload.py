"""Ten times the load that the service can carry, and afterwards business as usual."""

from collections.abc import Iterator, Sequence
from time import monotonic

import pytest

from loadtests.figures import percentile
from tests.faults.crowds import Answer, crowd
from tests.faults.figures import IS_LONG, Figures
from tests.faults.ledgers import outcomes_of
from tests.support import Service, running, serve_command

pytestmark = [pytest.mark.engine, pytest.mark.timeout(0 if IS_LONG else 300)]

TIMES = 10
SHORT, LONG = 128, 512
"""Tokens of an answer; the shorter it is, the more refusals are ten times the load."""
CLIENTS = 32
"""As many as the engine has places."""

CAPACITY_S, OVERLOAD_S = (20.0, 60.0) if IS_LONG else (4.0, 6.0)
RECOVERED_S = 10.0
FAULT = f"{TIMES} times the load that it can carry, for {OVERLOAD_S:g} s, answers of %d tokens"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(serve_command(), tmp_path_factory.mktemp("overload")) as service:
        yield service


def completed(answers: Sequence[Answer], began_at: float, seconds: float) -> float:
    """Answers a second that were complete in the `seconds` since `began_at`."""
    ended = (answer.ended_at - began_at for answer in answers if answer.status == 200)
    return sum(at_s <= seconds for at_s in ended) / seconds


@pytest.mark.parametrize("tokens", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
async def test_what_is_too_much_is_refused_and_the_rest_is_answered(
    service: Service, figures: Figures, tokens: int
) -> None:
    fault = FAULT % tokens
    async with crowd(service, words=1, tokens=tokens) as clients:
        await clients.fill(CLIENTS, 2.0)
        began_at = monotonic()
        before = completed(await clients.fill(CLIENTS, CAPACITY_S), began_at, CAPACITY_S)
        began_at = monotonic()
        answers = await clients.flood(TIMES * before, OVERLOAD_S)
        goodput = completed(answers, began_at, OVERLOAD_S)
        began_at = monotonic()
        again = await clients.fill(CLIENTS, RECOVERED_S if IS_LONG else 1.0)
        after = completed(again, began_at, RECOVERED_S)
    done = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert done
    assert {answer.status for answer in refused} == {503}
    assert all(int(answer.retry_after or 0) >= 1 for answer in refused)
    assert {answer.status for answer in again} == {200}
    outcomes = await outcomes_of(service.data_dir, [answer.request_id for answer in done])
    assert set(outcomes.values()) == {"ok"}
    figures.note(fault, "answers a second before it", f"{before:.1f}")
    figures.note(fault, "answers a second during it", f"{goodput:.1f} ({goodput / before:.0%})")
    figures.note(fault, f"answers a second in the {RECOVERED_S:g} s after it", f"{after:.1f}")
    figures.note(fault, "refused", f"{len(refused):,} of {len(answers):,}")
    refusal_s = percentile((answer.seconds for answer in refused), 99)
    assert refusal_s is not None
    figures.note(fault, "a refusal takes, p99", f"{refusal_s * 1000:.0f} ms")
    figures.note(fault, "answers without a row, rows without an answer", "0")
