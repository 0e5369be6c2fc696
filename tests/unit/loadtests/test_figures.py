"""Percentiles, shares and growth, from records alone."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.figures import (
    by_name,
    figures_of,
    growth,
    outcomes,
    over_time,
    percentile,
    percentiles,
)
from tests.unit.loadtests.samples import answered, failed, refused


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = list(range(1, 101))
    assert [percentile(values, each) for each in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 99) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([50, 90, 95, 99]))
def test_as_many_values_as_promised_do_not_exceed_a_percentile(
    values: list[float], percent: int
) -> None:
    limit = percentile(values, percent)
    assert limit is not None
    assert sum(value <= limit for value in values) * 100 >= percent * len(values)
    assert sum(value < limit for value in values) * 100 < percent * len(values)


def test_nothing_measured_has_no_percentiles() -> None:
    assert percentiles("gap_", []) == {}


def test_latencies_are_those_of_complete_answers() -> None:
    records = [answered(latency_ms=10), answered(latency_ms=20), failed(latency_ms=9000)]
    figures = figures_of([*records, refused(latency_ms=1)], seconds=2)
    assert figures["max_ms"] == 20
    assert figures["refusal_max_ms"] == 1
    assert (figures["requests"], figures["errors"], figures["refusals"]) == (4, 1, 1)
    assert (figures["rate"], figures["answered_per_s"]) == (2, 1)


def test_a_run_without_an_answer_has_no_latency_to_hold_a_threshold() -> None:
    assert "p95_ms" not in figures_of([failed()], seconds=1)


def test_hits_are_a_share_of_the_answers_that_say_so() -> None:
    records = [answered(cache="hit"), answered(cache="miss"), answered(), refused()]
    assert figures_of(records, 1)["hit_ratio"] == 0.5
    assert "hit_ratio" not in figures_of([answered()], 1)


def test_new_prompt_tokens_are_those_that_the_engine_had_to_read() -> None:
    read = answered(prompt_tokens=220, cached_tokens=192)
    hit = answered(prompt_tokens=500, cached_tokens=500, cache="hit")
    assert figures_of([read, hit], 1)["new_prompt_tokens_p95"] == 28


def test_tokens_are_timed_from_the_intended_start_and_from_each_other() -> None:
    figures = figures_of([answered(first_ms=120.0, gaps_ms=(10.0, 30.0))], 1)
    assert (figures["first_p95_ms"], figures["gap_max_ms"]) == (120, 30)


def test_failures_are_counted_by_what_happened() -> None:
    records = [failed(), failed(), refused(), answered()]
    assert outcomes(records) == [("a", "http 500", 2), ("a", "overloaded", 1)]


def test_names_stand_in_alphabetical_order() -> None:
    assert list(by_name([answered(name="b"), answered(name="a")])) == ["a", "b"]


def test_growth_compares_the_first_tenth_with_the_last() -> None:
    assert growth([100.0] * 50 + [102.0] * 50) == 0.020000000000000018
    assert growth([100.0] * 19) is None
    # One peak is not growth.
    assert growth([100.0] * 99 + [900.0]) == 0


def test_parts_of_time_hold_every_point() -> None:
    points = [(0.0, 1.0), (4.9, 2.0), (5.0, 3.0), (11.0, 4.0)]
    assert over_time(points, 10, 2) == [(2.5, [1.0, 2.0]), (7.5, [3.0, 4.0])]
