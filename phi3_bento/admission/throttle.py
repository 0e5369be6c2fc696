"""Slow down whoever guesses keys: failed authentications of an address, in this process."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from phi3_bento.admission.standing import duration
from phi3_bento.errors import RateLimited

WINDOW_S = 60.0

SHARED_BITS = 64
"""One customer has a whole IPv6 network of 2^64 addresses, so a network counts as one address."""


@dataclass(slots=True)
class _Failures:
    count: int
    ends_at: float


class AttemptThrottle:
    """Refuses an address after `limit_per_minute` failed authentications, until its minute ends.

    The minute begins with the first failure. Times are seconds of any clock that the caller keeps
    to. At most `max_addresses` are remembered; the one that failed longest ago is forgotten.
    """

    def __init__(self, limit_per_minute: int = 30, *, max_addresses: int = 10_000) -> None:
        self._limit = limit_per_minute
        self._max_addresses = max_addresses
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Pass, or raise `RateLimited`. `address` is the client's; "" where it is not known."""
        if not self._failures:
            return
        failures = self._failures.get(_network(address))
        if failures is not None and failures.count >= self._limit and now < failures.ends_at:
            wait_s = failures.ends_at - now
            raise RateLimited(
                f"{failures.count} requests with a missing or wrong API key came from this address "
                f"within a minute. Send a valid key in {duration(wait_s)}.",
                retry_after_s=wait_s,
                limit="failed_attempts",
            )

    def note_failure(self, address: str, now: float) -> None:
        """Count a failed authentication."""
        network = _network(address)
        failures = self._failures.get(network)
        if failures is None or now >= failures.ends_at:
            failures = self._failures[network] = _Failures(0, now + WINDOW_S)
        failures.count += 1
        self._failures.move_to_end(network)
        if len(self._failures) > self._max_addresses:
            self._failures.popitem(last=False)


def _network(address: str) -> str:
    """What counts as one address; what is no IP address, such as a socket's path, stays itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - SHARED_BITS):x}/{SHARED_BITS}"
