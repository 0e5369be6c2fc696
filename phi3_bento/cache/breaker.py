"""Whether a store may be asked: after a failure not for a while, then by one request at a time."""


class Breaker:
    """Times are seconds of one clock, which may be set back."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._failed_at: float | None = None

    def allows(self, now: float) -> bool:
        """The store may be asked. In an outage that is one request in `retry_s`."""
        if self._failed_at is None:
            return True
        # Below 0 the clock was set back, and nobody knows how long ago the failure was.
        if 0 <= now - self._failed_at < self._retry_s:
            return False
        self._failed_at = now
        return True

    def fail(self, now: float) -> bool:
        """The store failed; True: an outage begins."""
        begins = self._failed_at is None
        self._failed_at = now
        return begins

    def succeed(self) -> bool:
        """The store answered; True: an outage ends."""
        ends = self._failed_at is not None
        self._failed_at = None
        return ends
