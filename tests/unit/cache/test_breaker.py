"""A breaker lets one ask in each pause."""

from collections.abc import Callable

from phi3_bento.cache.breaker import Breaker


def times_allowed(ask: Callable[[float], bool], moments: list[float]) -> list[float]:
    return [moment for moment in moments if ask(moment)]


def test_in_an_outage_one_request_in_each_pause_may_ask() -> None:
    breaker = Breaker(5.0)
    assert breaker.allows(0.0)
    assert breaker.fail(1.0)
    assert times_allowed(breaker.allows, [1, 3, 5.9, 6, 6, 10.9, 11, 12]) == [6, 11]
    assert not breaker.fail(12.0)
    assert times_allowed(breaker.allows, [16, 17, 18]) == [17]
    assert breaker.succeed()
    assert breaker.allows(18.0)
    assert not breaker.succeed()


def test_a_clock_that_is_set_back_does_not_prolong_an_outage() -> None:
    breaker = Breaker(5.0)
    breaker.fail(1000.0)
    assert times_allowed(breaker.allows, [10, 11, 15]) == [10, 15]
