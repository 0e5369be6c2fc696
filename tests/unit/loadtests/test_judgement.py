"""Thresholds, the client's lag, and the highest rate that holds."""

import math

import pytest

from loadtests.judgement import (
    Threshold,
    climb,
    judge,
    lag_limit_ms,
    lag_verdict,
    overridden,
)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("p95_ms<=300", 300.0, True),
        ("p95_ms <= 300", 300.1, False),
        ("goodput_ratio>=0.9", 0.9, True),
        ("goodput_ratio>=0.9", 0.89, False),
        ("errors<=0", None, False),
        ("errors<=0", math.nan, False),
        ("goodput_ratio>=0", math.nan, False),
    ],
)
def test_a_threshold_holds_for_what_was_measured_within_it(
    text: str, value: float | None, holds: bool
) -> None:
    assert Threshold.parse(text).holds(value) is holds


@pytest.mark.parametrize("text", ["p95_ms<300", "p95_ms", "<=3", "p95_ms<=fast", ""])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        Threshold.parse(text)


def test_a_figure_that_is_missing_holds_nothing() -> None:
    (verdict,) = judge((Threshold("p95_ms", 300),), {"p50_ms": 1.0})
    assert not verdict.holds


def test_a_threshold_of_the_command_replaces_that_of_the_scenario() -> None:
    own = (Threshold("p95_ms", 300), Threshold("errors", 0))
    changed = overridden(own, [Threshold("p95_ms", 20), Threshold("hit_ratio", 0.9, False)])
    assert [str(each) for each in changed] == ["errors ≤ 0", "p95_ms ≤ 20", "hit_ratio ≥ 0.9"]


@pytest.mark.parametrize(("rate", "limit_ms"), [(50, 10), (10, 10), (2, 50), (1000, 10)])
def test_the_client_may_be_late_by_a_tenth_of_the_gap_and_by_ten_milliseconds_always(
    rate: float, limit_ms: float
) -> None:
    assert lag_limit_ms(rate) == limit_ms


def test_a_client_that_was_late_fails_the_run() -> None:
    assert not lag_verdict({"lag_p99_ms": 12.0}, lag_limit_ms(50)).holds
    assert lag_verdict({"lag_p99_ms": 9.0}, lag_limit_ms(50)).holds
    assert not lag_verdict({}, 10).holds


def test_the_rate_rises_until_it_does_not_hold() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate < 17

    assert climb(10, 1.25, holds) == pytest.approx(15.625)
    assert tried == pytest.approx([10, 12.5, 15.625, 19.53125])


def test_a_first_rate_that_does_not_hold_leaves_none() -> None:
    assert climb(10, 1.25, lambda _: False) is None


def test_the_climb_ends_also_where_everything_holds() -> None:
    assert climb(1, 2, lambda _: True, most_steps=5) == 16
