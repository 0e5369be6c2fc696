"""The work that was let in: how much waits, what goes first, and whether a deadline can be met."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from time import monotonic

from phi3_bento.admission.deadline import (
    CurrentStep,
    Room,
    SpeedMeter,
    Work,
    predict_first_token_s,
)
from phi3_bento.core import TokenCount
from phi3_bento.errors import DeadlineUnmeetable, Overloaded

DEFAULT_DEADLINE_S = 60.0
"""Where a request stands among those with a deadline, when it has none itself."""

_PRIORITY_WEIGHT = 2**40
"""Milliseconds of one class of priority: more than any deadline."""

_MAX_PRIORITY = 2**22
"""Priorities beyond are all the same: vLLM's number has 64 bits."""

_MOST_PROMISED_S = 30.0
"""Not all come back: whoever is refused is not sent away for longer on their account."""

_CAUTION = 1.15
"""A deadline is judged by so much more than is predicted: requests that come at once take time
from the engine's cores (docs/performance.md, a hundred decisions at once)."""

_IDLE_PRIORITY = -_MAX_PRIORITY - 1


@dataclass(frozen=True, slots=True)
class Urgency:
    """How a request stands to others."""

    priority: int = 0
    slo_s: float | None = None
    """Seconds from its arrival within which the first token must come."""
    age_s: float = 0.0
    """Seconds of them that have passed."""
    is_idle: bool = False
    """Behind every priority, and in no place that others may wait in."""

    def order(self, now: float) -> int:
        """Lower goes first; in 64 bits."""
        rank = max(-_MAX_PRIORITY, min(_MAX_PRIORITY, self.priority))
        slo_s = DEFAULT_DEADLINE_S if self.slo_s is None else self.slo_s
        deadline_ms = int((now - self.age_s + slo_s) * 1000)
        return -(_IDLE_PRIORITY if self.is_idle else rank) * _PRIORITY_WEIGHT + deadline_ms


@dataclass(eq=False, slots=True)
class Place:
    """One request's place among all; `leave` gives it back."""

    work: Work
    tokens: TokenCount
    order: int
    """Lower goes first; vLLM's `priority`."""
    entered_at: float
    predicted_s: float | None
    """Seconds from the entry to the first token; None while the engine's speed is unknown."""
    step_s: float = 0.0
    """Seconds from one token to the next when it entered; 0 while the speed is unknown."""
    clock: Callable[[], float] = monotonic
    began_at: float | None = None
    _places: set["Place"] = field(default_factory=set, repr=False)

    def is_waiting(self, now: float) -> bool:
        """Has no first token yet, as far as one can tell: an unstreamed answer tells at its end."""
        if self.began_at is not None or self.tokens.completion:
            return False
        return self.predicted_s is None or now < self.entered_at + self.predicted_s

    def remaining(self) -> Work:
        """What the engine still has to do for it."""
        left = max(1, self.work.new_tokens - self.tokens.completion)
        return Work(self.work.prompt_tokens, left)

    def count_work(self) -> None:
        """Put an estimate into `tokens`, where the engine has not counted.

        It counts an answer that is not streamed at its end, and an answer whose client hung up has
        none.
        """
        if not self.tokens.total and not self.is_waiting(self.clock()):
            done_s = self.clock() - self.entered_at - (self.predicted_s or 0.0)
            steps = int(done_s / self.step_s) if self.step_s else 0
            self.tokens.prompt = self.work.prompt_tokens
            self.tokens.completion = min(1 + steps, self.work.new_tokens)

    def leave(self) -> None:
        """The request has ended, however. Idempotent."""
        self._places.discard(self)


class Backlog:
    """All requests between admission and their end; belongs to one event loop."""

    def __init__(
        self,
        *,
        room: Room,
        meter: SpeedMeter,
        max_waiting: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._room = room
        self._meter = meter
        self._max_waiting = max_waiting
        self._clock = clock
        self._places: set[Place] = set()
        self._promised_at = 0.0
        """Until then the engine's time was promised to requests that were refused."""

    @property
    def is_empty(self) -> bool:
        """Nobody has a place."""
        return not self._places

    def is_full(self, *, is_idle: bool) -> bool:
        """Nobody gets a place now."""
        return len(self._places) >= self._room.sequences + (0 if is_idle else self._max_waiting)

    def check(self, work: Work, urgency: Urgency) -> float | None:
        """Raise what `enter` would raise now; in how many seconds its first token would come.

        None while the engine's speed is unknown.
        """
        now = self._clock()
        predicted_s = self._predict(work, urgency.order(now), now)
        if self.is_full(is_idle=urgency.is_idle):
            raise Overloaded(
                f"{len(self._places)} requests are being answered or wait already.",
                retry_after_s=max(1.0, predicted_s or 0.0),
            )
        slo_s = urgency.slo_s
        expected_s = None if predicted_s is None else urgency.age_s + _CAUTION * predicted_s
        if slo_s is not None and expected_s is not None and expected_s > slo_s:
            raise DeadlineUnmeetable(
                f"The first token would come after about {expected_s * 1000:.0f} ms, and the "
                f"request allows {slo_s * 1000:.0f} ms (x-slo-ttft-ms, or the key's default).",
                retry_after_s=max(1.0, self._promise_s(expected_s - slo_s, work, now)),
            )
        return predicted_s

    def enter(self, work: Work, urgency: Urgency, tokens: TokenCount) -> Place:
        """Take a place, or raise `Overloaded` or `DeadlineUnmeetable`.

        `tokens`: what the engine counts while it works. Work of no tokens, as of a tokenizer, does
        not wait for the engine.
        """
        now = self._clock()
        if not work.held_tokens:
            return Place(work, tokens, 0, now, None)
        predicted_s = self.check(work, urgency)
        order, step_s = urgency.order(now), self._step_s()
        place = Place(
            work, tokens, order, now, predicted_s, step_s, self._clock, _places=self._places
        )
        self._places.add(place)
        return place

    def __len__(self) -> int:
        """Requests that have a place."""
        return len(self._places)

    def waiting(self) -> int:
        """Requests that have no first token yet."""
        now = self._clock()
        return sum(place.is_waiting(now) for place in self._places)

    def _promise_s(self, late_s: float, work: Work, now: float) -> float:
        """In how long a request that is `late_s` late can come back, behind whoever was told so."""
        speed = self._meter.speed()
        added_s = 0.0 if speed is None else speed.added_s(work)
        back_at = min(max(now + late_s, self._promised_at), now + max(late_s, _MOST_PROMISED_S))
        self._promised_at = back_at + added_s
        return back_at - now

    def _step_s(self) -> float:
        speed = self._meter.speed()
        return 0.0 if speed is None else speed.decode_step_s(len(self._places) + 1)

    def _predict(self, work: Work, order: int, now: float) -> float | None:
        speed = self._meter.speed()
        if speed is None:
            return None
        running = [place.remaining() for place in self._places if not place.is_waiting(now)]
        ahead = self._ahead(order, now, seats_taken=len(running))
        current = self._current_step(ahead, now, is_decoding=bool(running))
        works = [place.work for place in ahead]
        return predict_first_token_s(speed, self._room, running, works, work, current)

    def _current_step(
        self, ahead: Sequence[Place], now: float, *, is_decoding: bool
    ) -> CurrentStep:
        """What the engine is reading of `ahead`: those who were there when its step began."""
        if not ahead:
            return CurrentStep()
        began_at = self._meter.stepped_at
        if not is_decoding:
            # It was idle until the first of them came.
            began_at = max(began_at, min(place.entered_at for place in ahead))
        tokens = sum(p.work.computed_tokens for p in ahead if p.entered_at <= began_at)
        return CurrentStep(min(tokens, self._room.chunk_tokens), now - began_at)

    def _ahead(self, order: int, now: float, *, seats_taken: int) -> list[Place]:
        """Who gets a first token before a newcomer with `order`.

        What the engine has begun with it goes on with, whatever comes; only what waits for a seat
        is ordered.
        """
        waiting = [place for place in self._places if place.is_waiting(now)]
        waiting.sort(key=attrgetter("entered_at"))
        seats = max(0, self._room.sequences - seats_taken)
        queued = sorted(waiting[seats:], key=attrgetter("order"))
        return waiting[:seats] + [place for place in queued if place.order <= order]
