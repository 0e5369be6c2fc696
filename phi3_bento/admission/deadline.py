"""How long until a first token? A prediction from the engine's measured speed and its work; pure.

The model of an engine step: `step_s + prefill_tokens · prefill_s + decode_tokens · decode_s`, for
on a CPU every step reads all weights once, and each token adds its arithmetic.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import accumulate
from math import ceil
from operator import itemgetter
from statistics import median
from time import monotonic

from phi3_bento.engine.state import Step

_REMEMBERED_PREFILLS = 32
"""Few: a machine that others share is as fast as in its latest seconds."""

_REMEMBERED_DECODES = 128
"""More: a line needs steps of different widths."""

_ENOUGH_STEPS = 4


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of an engine step: its fixed part, and what each token adds."""

    step_s: float
    prefill_s: float
    decode_s: float

    def decode_step_s(self, running: int) -> float:
        """One step in which `running` sequences get a token each."""
        return self.step_s + running * self.decode_s

    def added_s(self, work: "Work") -> float:
        """By how much a request makes the engine's steps longer, all together."""
        return work.computed_tokens * self.prefill_s + work.new_tokens * self.decode_s


@dataclass(frozen=True, slots=True)
class Room:
    """What the engine can hold at once."""

    sequences: int
    kv_tokens: int
    chunk_tokens: int
    """Prompt tokens that one step takes."""


@dataclass(frozen=True, slots=True)
class Work:
    """One request, as the engine sees it."""

    prompt_tokens: int
    new_tokens: int
    """Tokens that are still to come, at most."""
    saved_tokens: int = 0
    """Of the prompt's, what the engine will not compute; below 0 where more than estimated."""

    @property
    def computed_tokens(self) -> int:
        """What the engine reads of the prompt: it has the rest in its KV cache."""
        return self.prompt_tokens - self.saved_tokens

    @property
    def held_tokens(self) -> int:
        """Its share of the KV cache at its end."""
        return self.prompt_tokens + self.new_tokens


class SpeedMeter:
    """Learns the engine's speed from its latest steps."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.stepped_at = 0.0
        """When the latest step ended, by `clock`, and the next began if there was work."""
        self._prefills: deque[Step] = deque(maxlen=_REMEMBERED_PREFILLS)
        self._decodes: deque[Step] = deque(maxlen=_REMEMBERED_DECODES)
        self._speed: Speed | None = None

    def observe(self, step: Step) -> None:
        """Note one step of the engine."""
        steps = self._prefills if step.prefill_tokens else self._decodes
        steps.append(step)
        self._speed = None
        self.stepped_at = self._clock()

    def speed(self) -> Speed | None:
        """The speed; None before a few steps of both kinds were seen."""
        if min(len(self._prefills), len(self._decodes)) < _ENOUGH_STEPS:
            return None
        if self._speed is None:
            self._speed = _fit(self._prefills, self._decodes)
        return self._speed


def _fit(prefills: Sequence[Step], decodes: Sequence[Step]) -> Speed:
    """A line through the steps without prefill; what prefills take beyond it is theirs.

    By medians: one step in which the machine stood still says nothing of the next.
    """
    step_s, decode_s = _line([(step.decode_tokens, step.seconds) for step in decodes])
    prefill_s = _weighted_median(
        (
            (step.seconds - step_s - step.decode_tokens * decode_s) / step.prefill_tokens,
            step.prefill_tokens,
        )
        for step in prefills
    )
    return Speed(step_s, max(0.0, prefill_s), decode_s)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope, neither negative, by Theil's abridged method.

    The slope is the median of those between each point of the lower half and one of the upper (H.
    Theil, A rank-invariant method of linear and polynomial regression analysis, 1950).
    """
    ordered = sorted(points, key=itemgetter(0))
    pairs = zip(ordered, ordered[len(ordered) // 2 :], strict=False)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x1 != x2]
    slope = max(0.0, median(slopes)) if slopes else 0.0
    intercept = median(y - slope * x for x, y in points)
    return (intercept, slope) if intercept >= 0 else (0.0, median(y / x for x, y in points if x))


def _weighted_median(values: Iterable[tuple[float, int]]) -> float:
    """Of values with their weights, the one that half of the weight does not exceed."""
    ordered = sorted(values)
    half = sum(weight for _, weight in ordered) / 2
    sums = accumulate(weight for _, weight in ordered)
    return next(value for (value, _), total in zip(ordered, sums, strict=True) if total >= half)


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """The step that the engine is at."""

    prefill_tokens: int = 0
    age_s: float = 0.0


def predict_first_token_s(
    speed: Speed,
    room: Room,
    running: Sequence[Work],
    ahead: Sequence[Work],
    own: Work,
    current: CurrentStep = CurrentStep(),
) -> float:
    """Seconds until `own` has its first token.

    `running` have had theirs; `ahead` still wait and go first, with those whose prompts are read in
    the `current` step. `own` waits for the end of that step, until there is room for it, and for
    the steps that read prompts before and with its own. Where there are several, whoever comes
    meanwhile fills up the last.
    """
    tokens = sum(work.computed_tokens for work in ahead) + own.computed_tokens
    tokens -= current.prefill_tokens
    steps = max(1, ceil(tokens / room.chunk_tokens))
    decode_step_s = speed.decode_step_s(min(len(running), room.sequences))
    waiting_s = _steps_until_room(room, running, [*ahead, own]) * decode_step_s
    if current.prefill_tokens:
        current_s = decode_step_s + current.prefill_tokens * speed.prefill_s
        waiting_s += max(0.0, current_s - current.age_s)
    read = tokens if steps == 1 else steps * room.chunk_tokens
    return waiting_s + read * speed.prefill_s + steps * decode_step_s


def _steps_until_room(room: Room, running: Sequence[Work], queue: Sequence[Work]) -> int:
    """Engine steps until the last of `queue` may begin: sequences must end before it."""
    ends = [(work.new_tokens, work.held_tokens) for work in running]
    heapify(ends)
    held, now = sum(tokens for _, tokens in ends), 0
    for work in queue:
        while ends and (len(ends) >= room.sequences or held + work.held_tokens > room.kv_tokens):
            now, freed = heappop(ends)
            held -= freed
        heappush(ends, (now + work.new_tokens, work.held_tokens))
        held += work.held_tokens
    return now
