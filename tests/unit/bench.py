"""A pipeline over an echo engine, for the unit tests."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import select

from phi3_bento.call import Call
from phi3_bento.caller import LOCAL_CALLER, Caller
from phi3_bento.core import Operation
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.parts import Parts
from phi3_bento.pipeline import Pipeline
from phi3_bento.tables import usage
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.reporter import Reporter
from phi3_bento.usage.tally import Tally

CHAT = {"messages": [{"role": "user", "content": "one two three"}]}
STREAM = CHAT | {"stream": True}

MakeParts = Callable[..., Parts]


class Bench:
    """A pipeline over an echo engine, and what its metrics and its ledger say."""

    def __init__(
        self, make_parts: MakeParts, engine: EchoEngine | None = None, *, limit_s: float = 30
    ) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.reporter = Reporter([Tally(metrics)])
        self.engine = engine or EchoEngine()
        self.parts = make_parts(metrics)
        self.pipeline = Pipeline(
            report=self.reporter.note,
            ledger=self.parts.ledger,
            cache=self.parts.cache,
            max_choices=2,
            first_piece_limit_s=limit_s,
        )

    def opened(self) -> "Bench":
        self.engine.on_step = self.parts.meter.observe
        self.pipeline.open(self.engine, self.parts.gate(self.engine.card))
        return self

    def answer(
        self, body: object = CHAT, caller: Caller = LOCAL_CALLER, slo_ttft_ms: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        call = Call(caller, "id-1", slo_ttft_ms)
        return self.pipeline.answer(Operation.CHAT, body, call)

    async def rows(self) -> list[Any]:
        """The ledger, when all that is pending has been written."""
        await self.parts.ledger.close()
        async with self.parts.database.connect() as connection:
            return list((await connection.execute(select(usage))).mappings().all())

    def started(self, body: object = CHAT) -> "asyncio.Task[list[bytes]]":
        """The answer, read by a task of its own as the HTTP layer does."""

        async def read() -> list[bytes]:
            return [piece async for piece in self.answer(body)]

        return asyncio.create_task(read())

    def outcomes(self) -> dict[str, float]:
        self.reporter.flush()
        return {
            sample.labels["outcome"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "phi3_requests_total" and sample.value
        }

    def value(self, name: str, **labels: str) -> float | None:
        self.reporter.flush()
        return self.registry.get_sample_value(name, labels)

    @property
    def in_flight(self) -> int:
        return self.pipeline.load().in_flight
