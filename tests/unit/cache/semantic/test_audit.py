"""The share of false hits: its bounds, and when the threshold rises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.semantic.audit import HIGHEST, Vigilance, bounds_of


@pytest.mark.parametrize(
    ("false", "audited", "lower", "upper"),
    # scipy.stats.binomtest(false, audited).proportion_ci(0.9, "wilson"), two-sided.
    [
        (0, 10, 0.0, 0.21294),
        (1, 10, 0.02263, 0.34772),
        (5, 500, 0.00488, 0.0204),
        (3, 3, 0.5258, 1.0),
    ],
)
def test_the_bounds_are_wilson_s(false: int, audited: int, lower: float, upper: float) -> None:
    bounds = bounds_of(false, audited)
    assert (bounds.lower, bounds.upper) == pytest.approx((lower, upper), abs=3e-5)


@given(st.data())
def test_the_bounds_hold_the_observed_share(data: st.DataObject) -> None:
    audited = data.draw(st.integers(1, 10_000))
    false = data.draw(st.integers(0, audited))
    bounds = bounds_of(false, audited)
    assert 0 <= bounds.lower <= false / audited + 1e-12
    assert false / audited - 1e-12 <= bounds.upper <= 1


def test_nothing_is_known_without_samples() -> None:
    assert (bounds_of(0, 0).lower, bounds_of(0, 0).upper) == (0.0, 1.0)


def test_the_threshold_stays_while_hits_are_true() -> None:
    vigilance = Vigilance(0.9, 0.01)
    assert not any(vigilance.note(is_false=False) for _ in range(1000))
    assert vigilance.threshold == 0.9
    assert vigilance.bounds.upper < 0.01


def test_one_false_hit_in_hundreds_is_within_the_budget() -> None:
    vigilance = Vigilance(0.9, 0.01)
    for _ in range(300):
        vigilance.note(is_false=False)
    assert not vigilance.note(is_false=True)


def test_the_threshold_rises_until_the_tier_is_off() -> None:
    vigilance = Vigilance(0.9, 0.01)
    thresholds = []
    for _ in range(100):
        if vigilance.note(is_false=True):
            thresholds.append(vigilance.threshold)
            assert vigilance.audited == 0, "samples under the old threshold tell nothing"
        if not vigilance.is_on:
            break
    assert thresholds == [0.92, 0.94, 0.96, 0.98, 1.0]
    assert vigilance.threshold > HIGHEST
