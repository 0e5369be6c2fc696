"""Looks how things stand, every second and whenever /metrics is read, and says so in the gauges."""

import asyncio
from dataclasses import dataclass
from time import monotonic

from phi3_bento.parts import Parts
from phi3_bento.pipeline import Pipeline
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.process_memory import memory_by_process
from phi3_bento.usage.reporter import Reporter

PERIOD_S = 1.0
MEMORY_PERIOD_S = 10.0
"""Finding all processes of the tree takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The gauges of one service process."""

    metrics: Metrics
    pipeline: Pipeline
    parts: Parts
    reporter: Reporter
    budget_bytes: int

    def look(self) -> None:
        """Set what is known at once."""
        metrics, pipeline, parts = self.metrics, self.pipeline, self.parts
        metrics.ready.set(pipeline.health().is_ready)
        load = pipeline.load()
        metrics.in_flight.set(load.in_flight)
        metrics.waiting.set(load.waiting)
        metrics.waiting_limit.set(parts.settings.max_waiting)
        metrics.ledger_pending.set(parts.ledger.pending_rows)
        metrics.ledger_journal.set(parts.ledger.uses_journal)
        metrics.limits_local.set(parts.limiter.is_local)
        metrics.memory_budget.set(self.budget_bytes)
        metrics.reports_dropped.set(self.reporter.dropped)
        for tier, size in parts.cache.memory_bytes().items():
            metrics.cache_bytes.labels(tier).set(size)

    async def measure_memory(self) -> None:
        """Set what takes a while to know."""
        for process, size in (await asyncio.to_thread(memory_by_process)).items():
            self.metrics.memory.labels(process).set(size)

    async def before_metrics(self) -> None:
        """Bring everything up to date that is about to be read."""
        self.look()
        await asyncio.to_thread(self.reporter.flush)

    async def run(self) -> None:
        """Go on looking until cancelled."""
        measured_at = -MEMORY_PERIOD_S
        while True:
            self.look()
            if monotonic() - measured_at >= MEMORY_PERIOD_S:
                await self.measure_memory()
                measured_at = monotonic()
            due = monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.metrics.loop_lag.observe(max(0.0, monotonic() - due))
