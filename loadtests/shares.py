"""A share of a sample, with the bounds between which it lies."""

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959964


@dataclass(frozen=True)
class Share:
    """A share with its 95 % bounds, by Wilson."""

    part: int
    of: int

    @property
    def bounds(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        rate, weight = self.part / self.of, Z_95**2 / self.of
        middle = rate + weight / 2
        spread = Z_95 * sqrt(rate * (1 - rate) / self.of + weight / self.of / 4)
        return (
            max(0.0, (middle - spread) / (1 + weight)),
            min(1.0, (middle + spread) / (1 + weight)),
        )

    def __str__(self) -> str:
        low, high = (f"{100 * bound:.1f}" for bound in self.bounds)
        return f"{self.part} of {self.of}, {100 * self.part / max(self.of, 1):.1f} % ({low}–{high})"
