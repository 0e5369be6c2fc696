"""Where a key stands with its limits, for the headers of a response."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limit in the present window: its size, what is left of it, seconds until all is free."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The limits per minute; None: the key has no such limit."""

    requests: Allowance | None = None
    tokens: Allowance | None = None

    def headers(self) -> dict[str, str]:
        """OpenAI's `x-ratelimit-*` of the limits that the key has."""
        headers = {}
        for kind, allowance in (("requests", self.requests), ("tokens", self.tokens)):
            if allowance is not None:
                headers[f"x-ratelimit-limit-{kind}"] = str(allowance.limit)
                headers[f"x-ratelimit-remaining-{kind}"] = str(allowance.remaining)
                headers[f"x-ratelimit-reset-{kind}"] = duration(allowance.reset_s)
        return headers


def duration(seconds: float) -> str:
    """Whole seconds, rounded up, as OpenAI writes them: `1s`, `6m0s`, `1h0m0s`."""
    minutes, second = divmod(ceil(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m{second}s"
    return f"{minute}m{second}s" if minute else f"{second}s"
