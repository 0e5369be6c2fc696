"""What the service sets up in its process: how it drains, and what the collector looks at."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

_THRESHOLDS = 10_000, 20, 20
"""Objects made and not yet freed until the collector looks; Python's own are 700, 10, 10."""


def drain_on_sigterm(drain: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Begin to drain when SIGTERM comes, and let the server's own handler do the rest.

    The server waits for running requests without a limit; the drain sets one.
    """
    loop = asyncio.get_running_loop()
    inherited = signal.getsignal(signal.SIGTERM)
    drains: list[asyncio.Task[None]] = []

    def begin() -> None:
        drains.append(asyncio.create_task(drain()))

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin)
        if callable(inherited):
            inherited(number, frame)

    # A server in a thread, as in tests, gets no signals.
    if callable(inherited) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def settle_garbage_collector(*, again: bool) -> None:
    """Take what the start made out of the collector's sight; `again`: collect an engine before it.

    Full collections over the imported libraries' objects pause the event loop. What a request
    makes ends with it, so that looking for cycles seldom finds any: at Python's thresholds it took
    6 % of a cache hit's CPU (docs/performance.md).
    """
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
