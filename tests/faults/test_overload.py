"""Ten times the load that the service can carry, and afterwards business as usual."""

from collections.abc import Iterator

import pytest

from loadtests.overload import TIMES, Spans, overload
from tests.faults.figures import IS_LONG, Figures
from tests.faults.ledgers import outcomes_of
from tests.support import Service, running, serve_command

pytestmark = [pytest.mark.engine, pytest.mark.timeout(0 if IS_LONG else 300)]

SHORT, LONG = 128, 512
"""Tokens of an answer; the shorter it is, the more refusals are ten times the load."""

SPANS = Spans(20.0, 60.0, 10.0) if IS_LONG else Spans(4.0, 6.0, 1.0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(serve_command(), tmp_path_factory.mktemp("overload")) as service:
        yield service


@pytest.mark.parametrize("tokens", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
async def test_what_is_too_much_is_refused_and_the_rest_is_answered(
    service: Service, figures: Figures, tokens: int
) -> None:
    found = await overload(service.url, tokens, SPANS)
    assert found.done
    assert {answer.status for answer in found.refused} == {503}
    assert all(int(answer.retry_after or 0) >= 1 for answer in found.refused)
    assert {answer.status for answer in found.again} == {200}
    outcomes = await outcomes_of(service.data_dir, [answer.request_id for answer in found.done])
    assert set(outcomes.values()) == {"ok"}
    fault = f"{TIMES} times the load that it can carry, answers of {tokens} tokens"
    during = f"{found.during:.1f} ({found.during / found.before:.0%})"
    figures.note(fault, "answers a second before it", f"{found.before:.1f}")
    figures.note(fault, f"answers a second during it ({SPANS.overload_s:g} s)", during)
    figures.note(
        fault, f"answers a second in the {SPANS.recovery_s:g} s after it", f"{found.after:.1f}"
    )
    figures.note(fault, "refused", f"{len(found.refused):,} of {len(found.answers):,}")
    figures.note(fault, "a refusal takes, p99", f"{found.refusal_ms:.0f} ms")
    figures.note(fault, "answers without a row, rows without an answer", "0")
