"""What has ended is heard soon, a few at a time, and told later, in batches, by a thread.

A listener takes of a request what it needs, in memory and within microseconds, so that nothing of
the request is kept alive; metrics, log and collector are touched a few times a second (ADR 13).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from phi3_bento.call import Exchange
from phi3_bento.record import RequestRecord

logger = logging.getLogger("bentoml.phi3")

PERIOD_S = 0.2
HANDFUL = 16
"""Notes that are heard together: the second of them finds the listeners' code and data in the
processor's caches, where the first of them had to wait for it."""

MAX_NOTES = 50_000
"""Notes beyond are dropped, and counted: whoever reads the log may have stopped reading."""


class Listener(Protocol):
    """Whoever is told of what has ended; the reporter calls one method at a time."""

    def hear(self, what: RequestRecord | Exchange) -> None:
        """Take of it what is needed. In the request's own time, which it must not take."""

    def take(self) -> Callable[[], None]:
        """Hand over all that was heard since the last time: a call that tells it, and may block."""


class Reporter:
    """Lets listeners hear of what has ended, from any thread; `flush` may be called too.

    A listener that raises misses what it was to hear or tell, and no other one does.
    """

    def __init__(self, listeners: Sequence[Listener], *, period_s: float = PERIOD_S) -> None:
        self.listeners = list(listeners)
        self.dropped = 0
        """Notes that nobody heard of."""
        self._untold = 0
        self._unheard: list[RequestRecord | Exchange] = []
        self._period_s = period_s
        # Re-entrant: hearing makes objects, at which the collector may end a request that was left.
        self._hearing = threading.RLock()
        self._telling = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, what: RequestRecord | Exchange) -> None:
        """Have it told soon. Never waits for who is told, never raises."""
        with self._hearing:
            if self._untold >= MAX_NOTES:
                self.dropped += 1
                return
            self._untold += 1
            self._unheard.append(what)
            if len(self._unheard) >= HANDFUL:
                self._hear()

    def _hear(self) -> None:
        notes, self._unheard = self._unheard, []
        for listener in self.listeners:
            for note in notes:
                try:
                    listener.hear(note)
                except Exception:
                    logger.exception("What has ended could not be heard.")

    def start(self) -> None:
        """Begin to tell, in a thread."""
        self._thread = threading.Thread(target=self._tell_on, name="phi3-reporter", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Return when all that was noted before has been told. Blocks: a log may be slow."""
        with self._telling:
            with self._hearing:
                self._hear()
                self._untold = 0
                tellings = [listener.take() for listener in self.listeners]
            for tell in tellings:
                try:
                    tell()
                except Exception:
                    logger.exception("What has ended could not be reported.")

    def close(self) -> None:
        """Tell what is left, and stop. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _tell_on(self) -> None:
        while not self._closing.wait(self._period_s):
            self.flush()
