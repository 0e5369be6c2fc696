"""One replica: an ordinary service process that is watched, and started again when it ends."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from phi3_bento.errors import StartFailure
from phi3_bento.fleet.child import Child
from phi3_bento.fleet.layout import Place
from phi3_bento.fleet.probe import Condition, Hits, Load, Probe

WATCH_S = 0.2
HITS_EVERY_S = 2.0
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
STEADY_S = 60.0
"""A replica that was ready for so long has no failures behind it."""

START_LIMIT_S = 900.0
KILL_AFTER_S = 15.0
"""Beyond the drain limit, which the service keeps by itself."""


class Phase(StrEnum):
    """Where a replica is in its life."""

    EMPTY = "empty"
    """Nobody is there: never started, or drained."""
    STARTING = "starting"
    READY = "ready"
    UNWELL = "unwell"
    """It gets no requests, and is replaced if it stays so."""
    DRAINING = "draining"
    """It gets no requests, and ends when it has answered those that it has."""
    WAITING = "waiting"
    """It has ended by itself, and is started again after a pause."""


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many ends, one after the other."""
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** max(0, failures - 1))


@dataclass(frozen=True, slots=True)
class Watch:
    """What a replica is watched by."""

    key: str
    unwell_limit_s: float
    """A replica that is unwell for so long is replaced."""
    drain_limit_s: float
    on_change: Callable[[], None]
    """Hears of every change of phase."""


class Replica:
    """The replica of one place. Belongs to one event loop."""

    def __init__(self, place: Place, watch: Watch, start: Callable[[], Child]) -> None:
        """`start` starts its process."""
        self.place = place
        self.phase = Phase.EMPTY
        self.reason = ""
        self.restarts = 0
        """Ends and replacements that nobody asked for."""
        self.load = Load()
        self.hits = Hits()
        self.since = monotonic()
        self._watch = watch
        self._start = start
        self._probe = Probe(place.url, watch.key)
        self._process: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def takes_requests(self) -> bool:
        """The router may send it requests."""
        return self.phase is Phase.READY

    @property
    def has_failed(self) -> bool:
        """It has ended at least once since it was last well."""
        return self._failures > 0

    def begin(self) -> None:
        """Start it, and keep it running until `end`."""
        self._failures = 0
        self._become(Phase.STARTING)
        self._keeper = asyncio.create_task(self._keep())

    async def until_ready(self) -> None:
        """Return when it is ready. Raises `StartFailure` when it ends before."""
        while self.phase is not Phase.READY:
            if self.has_failed or self.phase is Phase.EMPTY:
                raise StartFailure(f"Replica {self.place.number} has ended: {self.reason}")
            await asyncio.sleep(WATCH_S / 2)

    def retire(self) -> None:
        """Let the router send no more requests; what runs goes on."""
        self._become(Phase.DRAINING)

    async def until_idle(self, limit_s: float) -> None:
        """Return when it answers nothing any more, at the latest after `limit_s`."""
        deadline, quiet = monotonic() + limit_s, 0
        # Twice: a request may be on its way from the router.
        while quiet < 2 and monotonic() < deadline and self.phase is Phase.DRAINING:
            self.load = await self._probe.load() or self.load
            quiet = quiet + 1 if self.load.is_idle else 0
            await asyncio.sleep(WATCH_S)

    async def end(self) -> None:
        """End its process, which lets running requests finish; nobody starts it again."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._process is not None:
            await self._process.stop(self._watch.drain_limit_s + KILL_AFTER_S)
        self._process, self.load, self.hits = None, Load(), Hits()
        self._become(Phase.EMPTY)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Close the connections to it."""
        await self._probe.close()

    def as_dict(self) -> Mapping[str, object]:
        """For `fleet status`."""
        return {
            "number": self.place.number,
            "phase": self.phase,
            "reason": self.reason,
            "for_s": round(monotonic() - self.since, 1),
            "url": self.place.url,
            "cores": list(self.place.cores),
            "memory_bytes": self.place.memory_bytes,
            "running": self.load.running,
            "waiting": self.load.waiting,
            "in_flight": self.load.in_flight,
            "answered": self.hits.answered,
            "cache_share": self.hits.cache_share,
            "prefix_share": self.hits.prefix_share,
            "restarts": self.restarts,
        }

    def _become(self, phase: Phase, reason: str = "") -> None:
        self.reason = reason
        if phase is not self.phase:
            self.phase, self.since = phase, monotonic()
            self._watch.on_change()

    async def _keep(self) -> None:
        while True:
            self._become(Phase.STARTING)
            self._process = self._start()
            reason = await self._until_ended(self._process)
            self.restarts += 1
            self._failures += 1
            pause_s = backoff_s(self._failures)
            self._become(Phase.WAITING, f"{reason} Next start in {pause_s:.0f} s.")
            await asyncio.sleep(pause_s)

    async def _until_ended(self, process: Child) -> str:
        """Watch the process to its end; why it ended."""
        well_at, hits_at = monotonic(), 0.0
        while process.code is None:
            health = await self._probe.health()
            now = monotonic()
            limit_s = self._watch.unwell_limit_s
            if health.condition is Condition.READY:
                well_at = now
                self._note_ready(now)
                self.load = await self._probe.load() or self.load
                if now - hits_at >= HITS_EVERY_S:
                    self.hits, hits_at = await self._probe.hits() or self.hits, now
            elif self.phase is Phase.STARTING or health.condition is Condition.STARTING:
                limit_s = START_LIMIT_S
                self._note_unwell(Phase.STARTING, health.reason)
            else:
                self._note_unwell(Phase.UNWELL, health.reason)
            if now - well_at > limit_s:
                process.kill()
                await process.ended(KILL_AFTER_S)
                return f"It was not well for {limit_s:g} s ({health.reason}) and was replaced."
            await asyncio.sleep(WATCH_S)
        return f"It ended with code {process.code}: {process.last_words()}"

    def _note_ready(self, now: float) -> None:
        if self.phase is Phase.DRAINING:
            return
        self._become(Phase.READY)
        if now - self.since > STEADY_S:
            self._failures = 0

    def _note_unwell(self, phase: Phase, reason: str) -> None:
        if self.phase is not Phase.DRAINING:
            self._become(phase, reason)
