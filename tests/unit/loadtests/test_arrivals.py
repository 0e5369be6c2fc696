"""Start times are drawn in advance, ascending, and as many as the rate says."""

from itertools import islice, pairwise
from random import Random

import pytest

from loadtests.arrivals import constant, poisson, volleys
from loadtests.scenario import Load


def draws(seed: int) -> Random:
    return Load(1, 1, seed).random()


def test_a_constant_rate_has_equal_distances() -> None:
    assert list(constant(4, 1.0)) == [0, 0.25, 0.5, 0.75]


def test_independent_users_come_at_the_rate_on_average() -> None:
    times = list(poisson(50, 200, draws(1)))
    assert len(times) == pytest.approx(50 * 200, rel=0.05)
    assert all(0 < sooner < later < 200 for sooner, later in pairwise(times))


def test_independent_users_come_as_often_in_short_gaps_as_exponential_gaps_say() -> None:
    times = list(poisson(10, 1000, draws(2)))
    short = sum(later - sooner < 0.1 for sooner, later in pairwise(times)) / len(times)
    assert short == pytest.approx(1 - 2.71828**-1, abs=0.02)


def test_the_same_seed_draws_the_same_times() -> None:
    assert list(islice(poisson(3, 60, draws(7)), 20)) == list(islice(poisson(3, 60, draws(7)), 20))


def test_every_volley_has_its_whole_time() -> None:
    assert list(volleys(30, 95)) == [0, 30, 60]
    assert list(volleys(30, 10)) == [0]
