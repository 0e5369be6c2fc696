"""Does an engine move? Judged by its own steps and by what is asked of it; pure but for the clock.

Idle is healthy however long it lasts: only work that does not move counts.
"""

import time
from collections.abc import Callable


class Progress:
    """Work that was entered and not left, and when the engine last made a step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved_at = clock()
        self.running = 0

    def enter(self) -> None:
        """Work was given to the engine; from idle, its time begins now."""
        if not self.running:
            self._moved_at = self._clock()
        self.running += 1

    def leave(self) -> None:
        """The work was done, or given up."""
        self.running -= 1

    def step(self) -> None:
        """The engine reported a step."""
        self._moved_at = self._clock()

    @property
    def silence_s(self) -> float:
        """Seconds for which work has waited without a step; 0 while there is none."""
        return self._clock() - self._moved_at if self.running else 0.0
