"""Keep an engine running: start it, watch it, and replace it when it ends or makes no step."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from phi3_bento.engine.base import Engine
from phi3_bento.engine.state import Health, State
from phi3_bento.errors import StartFailure
from phi3_bento.pipeline import Pipeline

CHECK_S = 0.25
"""How often the engine's health is read; reading costs microseconds."""

RESTARTS_WITHIN_S = 600.0
"""The time in which restarts are counted against their limit."""

_LONGEST_DELAY_S = 30.0

# BentoML gives its own loggers, and nobody else's, a handler in its worker.
logger = logging.getLogger("bentoml.phi3")


class Restarts:
    """How often and how soon an engine is started again; pure, time comes in.

    One that fails again and again is given up, so that what runs the service hears of it.
    """

    def __init__(self, most: int, within_s: float = RESTARTS_WITHIN_S) -> None:
        self._most = most
        self._within_s = within_s
        self._begun_at: deque[float] = deque()

    def next_delay_s(self, now: float) -> float | None:
        """Seconds to wait before the next start, at the monotonic time `now`; None: give up.

        The first comes at once, each further one within the time later than the last.
        """
        while self._begun_at and now - self._begun_at[0] > self._within_s:
            self._begun_at.popleft()
        before = len(self._begun_at)
        if before >= self._most:
            return None
        self._begun_at.append(now)
        return 0.0 if not before else min(2.0 ** (before - 1), _LONGEST_DELAY_S)


class EngineKeeper:
    """Starts an engine by `start`, which also opens the pipeline with it, and again as needed."""

    def __init__(
        self,
        pipeline: Pipeline,
        start: Callable[[], Awaitable[Engine]],
        *,
        restarts: Restarts,
        replace_after_s: float,
        on_restart: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pipeline = pipeline
        self._start = start
        self._restarts = restarts
        self._replace_after_s = replace_after_s
        self._on_restart = on_restart
        self._start_s = 0.0

    async def run(self) -> None:
        """Start the engine and look after it until cancelled.

        Raises what the first start raises, and `StartFailure` when the engine is given up.
        """
        engine = await self._timed_start()
        while True:
            health = await self._trouble(engine)
            noticed_at = monotonic()
            logger.error("The engine is replaced: %s", health.reason)
            self._on_restart(health.state)
            self._pipeline.suspend(f"{health.reason} It is started again.", self._start_s)
            await engine.close()
            engine = await self._start_again()
            logger.warning("The engine answers again, %.1f s later.", monotonic() - noticed_at)

    async def _trouble(self, engine: Engine) -> Health:
        """Return when the engine must be replaced, with the reason."""
        stalled_at: float | None = None
        while True:
            await asyncio.sleep(CHECK_S)
            health = engine.health()
            if health.state is State.DEAD:
                return health
            if health.state is not State.STALLED:
                stalled_at = None
                continue
            if stalled_at is None:
                stalled_at = monotonic()
                logger.error("The engine is stalled: %s", health.reason)
            if monotonic() - stalled_at >= self._replace_after_s:
                return health

    async def _start_again(self) -> Engine:
        while (delay_s := self._restarts.next_delay_s(monotonic())) is not None:
            await asyncio.sleep(delay_s)
            try:
                return await self._timed_start()
            except StartFailure as error:
                logger.error("The engine did not start: %s", error.message)
            except Exception:
                logger.exception("The engine did not start.")
        raise StartFailure(
            "The engine ended too often: it is not started again. The log says why it ended; "
            "PHI3_ENGINE_RESTARTS says how often it may."
        )

    async def _timed_start(self) -> Engine:
        began_at = monotonic()
        engine = await self._start()
        self._start_s = monotonic() - began_at
        return engine
