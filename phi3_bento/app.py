"""The composition root: settings in, a running service out. The only chooser of implementations."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from phi3_bento.admission.door import Hooks, OwnApi
from phi3_bento.admission.gate import Gate
from phi3_bento.engine.base import Engine
from phi3_bento.engine.decision import DecisionReader
from phi3_bento.engine.environment import memory_limit
from phi3_bento.engine.public_prompts import PublicPrompts, open_public_prompts, read_prompts
from phi3_bento.engine.state import Health
from phi3_bento.engine.warm_up import make_first_answers
from phi3_bento.engine_choice import BLOCK_TOKENS, start_engine
from phi3_bento.errors import StartFailure
from phi3_bento.isolation import check_isolation
from phi3_bento.keeper import EngineKeeper, Restarts
from phi3_bento.native import NativeApi
from phi3_bento.parentage import end_with_parent
from phi3_bento.parts import build_parts
from phi3_bento.pipeline import Pipeline
from phi3_bento.process import drain_on_sigterm, settle_garbage_collector
from phi3_bento.routes import API_PATHS, build_api, templates, vllm_version
from phi3_bento.settings import Settings
from phi3_bento.usage.log import Output
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.reporter import Reporter
from phi3_bento.usage.request_log import RequestLog
from phi3_bento.usage.tally import Tally
from phi3_bento.watch import Watch

if TYPE_CHECKING:
    from phi3_bento.usage.trace import Tracing

EXPOSED_HEADERS = (
    *("x-request-id", "openai-processing-ms", "server-timing"),
    *("retry-after", "retry-after-ms", "x-should-retry"),
    *("endpoint-load-metrics", "idempotent-replayed"),
    *(
        f"x-ratelimit-{what}-{kind}"
        for what in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens")
    ),
)

# BentoML gives its own loggers, and nobody else's, a handler in its worker.
logger = logging.getLogger("bentoml.phi3")


class Application:
    """One service process: its API app, its native API, and the engine behind both.

    The engine starts in the background when the app's lifespan begins, so that probes are answered
    from the first moment; its start may take minutes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine_factory: Callable[[], Awaitable[Engine]] | None = None,
        registry: CollectorRegistry = REGISTRY,
        output: Output | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics(registry)
        self.reporter = Reporter([Tally(self.metrics)])
        if output is not None and settings.log_requests:
            self.reporter.listeners.append(RequestLog(output.write, output.format))
        self._tracing = _tracing(settings)
        if self._tracing is not None:
            self.reporter.listeners.append(self._tracing)
        self.parts = build_parts(settings, self.metrics)
        self.pipeline = Pipeline(
            report=self.reporter.note,
            ledger=self.parts.ledger,
            cache=self.parts.cache,
            max_choices=settings.max_choices,
            first_piece_limit_s=settings.first_piece_limit_s,
            on_semantic_hit=self.parts.audit.consider if self.parts.audit else lambda _: None,
        )
        self.native = NativeApi(self.pipeline)
        self.api = build_api(
            self.pipeline,
            database=self.parts.database,
            keep_alive_s=settings.keep_alive_s,
            lifespan=self._lifespan,
        )
        if settings.cors_origins:
            self.api.add_middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=list(EXPOSED_HEADERS),
            )
        self.watch = Watch(
            self.metrics,
            self.pipeline,
            self.parts,
            self.reporter,
            budget_bytes=min(int(settings.memory), memory_limit() or sys.maxsize),
        )
        self._engine_factory = engine_factory or (
            lambda: start_engine(
                settings, report=self.pipeline.starting, on_step=self.parts.meter.observe
            )
        )
        self._engine: Engine | None = None
        self._audit: asyncio.Task[None] | None = None
        self._is_settled = False

    def door_options(self) -> dict[str, Any]:
        """What `admission.door.Door` is built with."""
        return {
            "doorkeeper": self.parts.doorkeeper,
            "max_body_bytes": int(self.settings.max_body_bytes),
            "own": OwnApi(self.api, API_PATHS, templates(self.api)),
            "hooks": Hooks(
                on_start=self._tracing.announce if self._tracing else lambda _: None,
                on_end=self.reporter.note,
                before_metrics=self.watch.before_metrics,
            ),
        }

    def health(self) -> Health:
        """Whether requests are answered now."""
        return self.pipeline.health()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncGenerator[None, None]:
        self.reporter.start()
        tasks = [
            asyncio.create_task(self._run_engine()),
            asyncio.create_task(self.watch.run()),
            asyncio.create_task(end_with_parent()),
        ]
        drain_on_sigterm(lambda: self.pipeline.drain(self.settings.drain_limit_s))
        try:
            yield
        finally:
            tasks += [self._audit] if self._audit is not None else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._engine is not None:
                await self._engine.close()
            await self.parts.close()
            await asyncio.to_thread(self._close_reports)

    async def _run_engine(self) -> None:
        keeper = EngineKeeper(
            self.pipeline,
            self._start,
            restarts=Restarts(self.settings.engine_restarts),
            replace_after_s=self.settings.replace_after_s,
            on_restart=lambda reason: self.metrics.engine_restarts.labels(reason).inc(),
        )
        try:
            await self.parts.open()
            await keeper.run()
        except StartFailure as error:
            self._fail(error.message)
        except Exception as error:
            logger.exception("The engine could not start.")
            self._fail(f"The engine could not start: {error}")

    async def _start(self) -> Engine:
        """An engine that answers; the pipeline is open with it."""
        self._engine = engine = await self._engine_factory()
        try:
            await self._prove(engine)
        except Exception:
            await engine.close()
            raise
        self.metrics.name_build(engine.card.name, vllm_version())
        settle_garbage_collector(again=self._is_settled)
        self._is_settled = True
        logger.info("Ready: %s answers.", engine.card.name)
        return engine

    async def _prove(self, engine: Engine) -> None:
        """Have the engine make its first answers, check what must hold, and open everything."""
        self.pipeline.starting("making the first answers")
        reader = await DecisionReader.for_engine(engine)
        await make_first_answers(engine)
        gate = self.parts.gate(engine.card, await self._open_public_prompts(engine))
        await check_isolation(engine, gate, self.parts.cache)
        self.native.open(reader)
        self.pipeline.open(engine, gate)
        self._audit_hits(engine, gate)

    def _audit_hits(self, engine: Engine, gate: Gate) -> None:
        if self._audit is not None:
            self._audit.cancel()
        if self.parts.audit is not None:
            self._audit = asyncio.create_task(self.parts.audit.run(engine, gate))

    def _close_reports(self) -> None:
        self.reporter.close()
        if self._tracing is not None:
            self._tracing.close()

    async def _open_public_prompts(self, engine: Engine) -> PublicPrompts:
        path = self.settings.public_prompts
        texts = read_prompts(path) if path else []
        return await open_public_prompts(engine, texts, block_tokens=BLOCK_TOKENS)

    def _fail(self, reason: str) -> None:
        logger.error("%s", reason)
        self.pipeline.fail(reason)


def _tracing(settings: Settings) -> "Tracing | None":
    if settings.otlp_endpoint is None:
        return None
    # It brings an HTTP client and protobuf, which nobody needs who does not trace.
    trace = import_module("phi3_bento.usage.trace")
    tracing: Tracing = trace.Tracing(settings.otlp_endpoint, share=settings.trace_share)
    return tracing
