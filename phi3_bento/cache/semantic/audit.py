"""How often semantic hits are false, measured on samples, and what follows from it; pure.

A false hit is one whose kept answer says another thing than the engine would have said. The bounds
are Wilson's score interval (E. B. Wilson, 1927), one-sided at 95 %.
"""

from dataclasses import dataclass
from math import sqrt

Z = 1.6449
"""The 95 % quantile of the normal distribution."""

STEP = 0.02
HIGHEST = 0.99
"""A threshold beyond this finds nothing but the same text: the tier is off."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what the share of false hits lies; each holds with 95 % confidence."""

    lower: float
    upper: float


def bounds_of(false: int, audited: int) -> Bounds:
    """The bounds of the share of which `false` of `audited` samples are an estimate."""
    if not audited:
        return Bounds(0.0, 1.0)
    share = false / audited
    centre = share + Z**2 / (2 * audited)
    spread = Z * sqrt(share * (1 - share) / audited + Z**2 / (4 * audited**2))
    scale = 1 + Z**2 / audited
    return Bounds(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


class Vigilance:
    """Holds the threshold of similarity, and raises it when hits turn out false too often.

    It acts when even the lower bound is over the budget: few samples prove nothing. Samples that
    were taken under a lower threshold are then forgotten. Over `HIGHEST` the tier is off until the
    process starts anew.
    """

    def __init__(self, threshold: float, budget: float) -> None:
        self.threshold = threshold
        self._budget = budget
        self.audited = 0
        self.false = 0

    @property
    def is_on(self) -> bool:
        """Semantic hits are given."""
        return self.threshold <= HIGHEST

    @property
    def bounds(self) -> Bounds:
        """Of the share of false hits under the present threshold."""
        return bounds_of(self.false, self.audited)

    def note(self, *, is_false: bool) -> bool:
        """Count one sample; whether the threshold was raised for it."""
        self.audited += 1
        self.false += is_false
        if self.bounds.lower <= self._budget:
            return False
        self.threshold = round(self.threshold + STEP, 4)
        self.audited = self.false = 0
        return True
