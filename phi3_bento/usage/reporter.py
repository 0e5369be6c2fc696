"""What is told about requests is told later, in batches, by a thread: a request only leaves a note.

A note costs a request a fraction of a microsecond; counting, logging and tracing it at once would
cost a cache hit a tenth of all its time (ADR 13).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi3_bento.call import Exchange
from phi3_bento.record import RequestRecord

logger = logging.getLogger("bentoml.phi3")

PERIOD_S = 0.2
MAX_NOTES = 50_000
"""Notes beyond are dropped, and counted: whoever reads the log may have stopped reading."""

_PORTION = 100
"""Notes that are told at a time; between them the event loop may run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What has ended lately, in the order in which it ended."""

    records: Sequence[RequestRecord] = ()
    exchanges: Sequence[Exchange] = ()


Listener = Callable[[Batch], None]


class Reporter:
    """Collects notes from any thread and tells every listener of them; `flush` may be called too.

    A listener that raises misses that batch, and no other one does.
    """

    def __init__(self, listeners: Sequence[Listener], *, period_s: float = PERIOD_S) -> None:
        self.listeners = list(listeners)
        self.dropped = 0
        """Notes that nobody heard of."""
        self._period_s = period_s
        self._notes: deque[RequestRecord | Exchange] = deque()
        self._telling = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, what: RequestRecord | Exchange) -> None:
        """Have it told soon. Never waits, never raises."""
        if len(self._notes) < MAX_NOTES:
            self._notes.append(what)
        else:
            self.dropped += 1

    def start(self) -> None:
        """Begin to tell, in a thread."""
        self._thread = threading.Thread(target=self._tell_on, name="phi3-reporter", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Return when all that was noted before has been told. Blocks: a log may be slow."""
        with self._telling:
            left = len(self._notes)
            while left > 0:
                portion = [self._notes.popleft() for _ in range(min(left, _PORTION))]
                left -= len(portion)
                self._tell(portion)

    def close(self) -> None:
        """Tell what is left, and stop. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _tell_on(self) -> None:
        while not self._closing.wait(self._period_s):
            self.flush()

    def _tell(self, notes: Sequence[RequestRecord | Exchange]) -> None:
        batch = Batch(
            [note for note in notes if isinstance(note, RequestRecord)],
            [note for note in notes if isinstance(note, Exchange)],
        )
        for listener in self.listeners:
            try:
                listener(batch)
            except Exception:
                logger.exception("What has ended could not be reported.")
