"""The requests that are being answered: each gets its row and its report, and all can be ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from phi3_bento.errors import EngineFailure, Unavailable
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.record import RequestRecord
from phi3_bento.usage.ledger import Ledger

RETRY_ELSEWHERE_S = 1.0


class RunningRequests:
    """A task for each; belongs to one event loop. `reports` hear of each when it has ended."""

    def __init__(
        self, ledger: Ledger, *, reports: Sequence[Callable[[RequestRecord], None]]
    ) -> None:
        self._ledger = ledger
        self._reports = reports
        self._running: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._cut_off = False

    def __len__(self) -> int:
        return len(self._running)

    async def end(self, limit_s: float) -> None:
        """Wait for all of them, and after `limit_s` end them.

        One that is ended gets `Unavailable`; a stream tells its client so.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            self._cut_off = True
            for task in self._running:
                task.cancel()

    @asynccontextmanager
    async def accounted(self, record: RequestRecord) -> AsyncGenerator[None, None]:
        """One more of them, while the block runs; it gets its row and its report, come what may."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request must be answered in a task, so that it can be ended")
        self._running.add(task)
        self._idle.clear()
        try:
            yield
            await self._enter_row(record, "ok")
        except Phi3Error as error:
            await self._enter_row(record, record.blame(error))
            raise
        except Exception:
            # Nobody foresaw it; the client reads the same of it as of a failed engine.
            await self._enter_row(record, record.blame(EngineFailure("")))
            raise
        except asyncio.CancelledError:
            if not self._cut_off:
                raise
            task.uncancel()
            failure = Unavailable(
                "The service is shutting down and could not wait longer for this answer.",
                retry_after_s=RETRY_ELSEWHERE_S,
            )
            record.blame(failure)
            await self._enter_row(record, "cut_off")
            raise failure from None
        finally:
            self._end(record)
            self._running.discard(task)
            if not self._running:
                self._idle.set()

    async def _enter_row(self, record: RequestRecord, outcome: str) -> None:
        """Write the row before the client has all of its answer."""
        record.outcome, record.ended_at = outcome, monotonic()
        if record.let_in:
            await self._ledger.write(record)

    def _end(self, record: RequestRecord) -> None:
        if record.ended_at is None:
            # The client hung up: nobody is there to wait for the row.
            record.ended_at = monotonic()
            if record.let_in:
                self._ledger.write_soon(record)
        for report in self._reports:
            report(record)
