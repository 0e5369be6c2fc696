"""Whoever guesses keys is slowed down, and nobody else."""

import pytest

from phi3_bento.admission.throttle import AttemptThrottle
from phi3_bento.errors import RateLimited


def failed(throttle: AttemptThrottle, address: str, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        throttle.note_failure(address, now)


def is_refused(throttle: AttemptThrottle, address: str, now: float = 0.0) -> bool:
    try:
        throttle.check(address, now)
    except RateLimited:
        return True
    return False


def test_an_address_is_refused_after_the_limit_and_until_its_minute_ends() -> None:
    throttle = AttemptThrottle(3)
    failed(throttle, "192.0.2.1", 2, now=10)
    assert not is_refused(throttle, "192.0.2.1", 10)
    failed(throttle, "192.0.2.1", 1, now=30)
    with pytest.raises(RateLimited, match=r"3 requests .* in 25s") as caught:
        throttle.check("192.0.2.1", 45)
    assert caught.value.retry_after_s == 25
    assert is_refused(throttle, "192.0.2.1", 69.9)
    assert not is_refused(throttle, "192.0.2.1", 70)
    failed(throttle, "192.0.2.1", 2, now=70)
    assert not is_refused(throttle, "192.0.2.1", 71)


def test_other_addresses_are_not_concerned() -> None:
    throttle = AttemptThrottle(1)
    failed(throttle, "192.0.2.1", 5)
    assert not is_refused(throttle, "192.0.2.2")
    assert not is_refused(throttle, "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:0:1::", "2001:db8::", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("/run/phi3.sock", "/run/phi3.sock", True),
        ("/run/phi3.sock", "", False),
    ],
)
def test_an_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4(
    one: str, other: str, same: bool
) -> None:
    throttle = AttemptThrottle(1)
    failed(throttle, one, 1)
    assert is_refused(throttle, other) is same


def test_only_so_many_addresses_are_remembered_those_that_failed_last() -> None:
    throttle = AttemptThrottle(2, max_addresses=3)
    failed(throttle, "192.0.2.1", 1)
    for number in (2, 3):
        failed(throttle, f"192.0.2.{number}", 2)
    failed(throttle, "192.0.2.1", 1)
    failed(throttle, "192.0.2.4", 2)
    remembered = [number for number in range(5) if is_refused(throttle, f"192.0.2.{number}")]
    assert remembered == [1, 3, 4]


def test_thousands_of_addresses_do_not_make_it_grow() -> None:
    throttle = AttemptThrottle(1)
    for number in range(10_050):
        throttle.note_failure(f"10.0.{number // 256}.{number % 256}", 0)
    assert not is_refused(throttle, "10.0.0.49")
    assert is_refused(throttle, "10.0.0.50")
    assert is_refused(throttle, "10.0.39.65")
