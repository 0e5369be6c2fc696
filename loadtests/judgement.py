"""Does it hold? Figures against thresholds, the client's own lag, the highest rate that holds."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_FORM = re.compile(r"([a-z0-9_]+)\s*(<=|>=)\s*(-?[0-9.]+)")
LAG_FIGURE = "lag_p99_ms"
LEAST_LAG_LIMIT_MS = 10.0
MAX_STEPS = 24


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a figure must be at most, or at least."""

    figure: str
    limit: float
    is_ceiling: bool = True

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        """Read `p95_ms<=300` or `goodput_ratio>=0.9`. Raises `ValueError`."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"'{text}' is not of the form p95_ms<=300 or goodput_ratio>=0.9")
        return cls(match[1], float(match[3]), match[2] == "<=")

    def __str__(self) -> str:
        return f"{self.figure} {'≤' if self.is_ceiling else '≥'} {self.limit:g}"

    def holds(self, value: float | None) -> bool:
        """A figure that was not measured holds nothing, and neither does NaN."""
        if value is None:
            return False
        return value <= self.limit if self.is_ceiling else value >= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """A threshold, and what was measured."""

    threshold: Threshold
    value: float | None

    @property
    def holds(self) -> bool:
        """The promise was kept."""
        return self.threshold.holds(self.value)


def judge(
    thresholds: Iterator[Threshold] | tuple[Threshold, ...], figures: Mapping[str, float]
) -> list[Verdict]:
    """A verdict for each threshold."""
    return [Verdict(threshold, figures.get(threshold.figure)) for threshold in thresholds]


def overridden(
    thresholds: tuple[Threshold, ...], changes: list[Threshold]
) -> tuple[Threshold, ...]:
    """`changes` take the place of the thresholds for the same figure; others are added."""
    changed = {change.figure for change in changes}
    return (*(each for each in thresholds if each.figure not in changed), *changes)


def lag_limit_ms(rate: float) -> float:
    """How late the client may dispatch (p99): 10 ms, or a tenth of the mean gap if that is more."""
    return max(LEAST_LAG_LIMIT_MS, 1000 / rate / 10)


def lag_verdict(figures: Mapping[str, float], limit_ms: float) -> Verdict:
    """Whether the client kept its own times; without that no other figure means anything."""
    return Verdict(Threshold(LAG_FIGURE, limit_ms), figures.get(LAG_FIGURE))


def climb(
    first: float, factor: float, holds: Callable[[float], bool], most_steps: int = MAX_STEPS
) -> float | None:
    """Raise the rate from `first` by `factor` while it holds; the last that did, or None."""
    best, rate = None, first
    for _ in range(most_steps):
        if not holds(rate):
            break
        best, rate = rate, rate * factor
    return best
