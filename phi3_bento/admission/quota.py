"""A key's quota as limits over windows of time, and what is said when one is used up."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from phi3_bento.admission.counters import Count
from phi3_bento.admission.standing import Allowance, Standing, duration
from phi3_bento.caller import Caller
from phi3_bento.errors import RateLimited
from phi3_bento.phi3_error import MAX_RETRY_AFTER_S

DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Limit:
    """How many requests or tokens (`unit`) a key may use in a minute or a day (`window`)."""

    caller: Caller
    unit: str
    size: int
    window: str
    window_s: int

    @property
    def key(self) -> str:
        """Name of the counter. Without the size: a limit that is changed keeps what was used."""
        return f"{self.unit}-per-{self.window}:{self.caller.tenant}:{self.caller.key_id}"

    def check(self, amount: int) -> None:
        """Raise `RateLimited`, for good, where `amount` is more than the whole limit."""
        if amount > self.size:
            advice = " Send a shorter prompt or a smaller max_tokens." * (self.unit == "tokens")
            raise RateLimited(
                f"{self._sentence}, and this request needs {amount}: it can never pass.{advice}",
                limit=self._name,
            )

    def refusal(self, amount: int, count: Count, now: float) -> RateLimited:
        """Why `amount`, which is already part of `count`, is too much for now."""
        wait_s = max(count.ends_at - now, 0.0)
        at = ""
        if wait_s > MAX_RETRY_AFTER_S:
            at = f", at {datetime.fromtimestamp(count.ends_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return RateLimited(
            f"{self._sentence}: {count.used - amount} are used, and this request needs {amount}. "
            f"All are free again in {duration(wait_s)}{at}.",
            retry_after_s=wait_s,
            limit=self._name,
        )

    @property
    def _name(self) -> str:
        return f"{self.unit}_per_{self.window}"

    @property
    def _sentence(self) -> str:
        return f"The key '{self.caller.key_id}' may use {self.size} {self.unit} per {self.window}"


def limits_of(caller: Caller, minute_s: int) -> list[Limit]:
    """The limits over time that `caller` has; a minute has `minute_s` seconds."""
    quota = caller.quota
    sizes = (
        ("requests", quota.requests_per_minute, "minute", minute_s),
        ("tokens", quota.tokens_per_minute, "minute", minute_s),
        ("tokens", quota.tokens_per_day, "day", DAY_S),
    )
    return [
        Limit(caller, unit, size, window, window_s)
        for unit, size, window, window_s in sizes
        if size is not None
    ]


def standing_of(counts: Iterable[tuple[Limit, Count]], now: float) -> Standing:
    """Where a key stands with its limits per minute."""
    allowances = {
        limit.unit: Allowance(
            limit.size, max(limit.size - count.used, 0), max(count.ends_at - now, 0.0)
        )
        for limit, count in counts
        if limit.window == "minute"
    }
    return Standing(allowances.get("requests"), allowances.get("tokens"))
